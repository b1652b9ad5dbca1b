"""Spans of time in which the supervisor stood still (Ctrl-Z), and its workers may have as well."""


class Standstills:
    """The spans that count for something that runs now."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, seconds: float, now: float) -> None:
        """A span of so many seconds has just ended."""
        self._spans.append((now - seconds, now))

    def forget(self, before: float) -> None:
        """Nothing that runs has begun before this instant."""
        self._spans = [span for span in self._spans if span[1] > before]

    def after(self, instant: float) -> float:
        """Return the instant from which a limit counts that would count from this one.

        It is put off by what of the spans came after it. The order of two instants is kept.
        """
        for since, until in self._spans:
            if until > instant:
                instant += until - max(since, instant)
        return instant
