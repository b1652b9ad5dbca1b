"""Text that was written by jobs and callers, made fit for a terminal or a log line."""

import unicodedata

_ELLIPSIS = "..."


def escape_line(text: str) -> str:
    r"""Return the text with every character that does not print as an escape (``\n``, ``\x1b``).

    That is: line ends, other control characters, those that turn the direction of writing or are
    invisible, and lone surrogates. What comes out cannot forge a line, drive a terminal or fail
    to be encoded.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def display_width(text: str) -> int:
    """Return how many columns of a terminal the text takes. Source: Unicode UAX #11."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """Return the escaped text, cut so that it takes at most so many columns."""
    # No character takes less than nothing: what is far too long need not be looked at.
    text = escape_line(text[: 4 * columns])
    if display_width(text) <= columns:
        return text
    room = columns - len(_ELLIPSIS)
    kept: list[str] = []
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + _ELLIPSIS


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return the text filled up with spaces to so many columns; ``right`` aligns it right."""
    space = " " * (columns - display_width(text))
    return space + text if right else text + space


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number of things for people: ``1 job``, ``1,234 jobs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or f'{noun}s'}"


def seconds_text(seconds: float) -> str:
    """Return a duration for people: ``812 us``, ``3.4 ms``, ``12.3 s``, ``2 h 05 min``."""
    # Each limit is where the number would be rounded up to the next unit.
    if seconds < 0.9995e-3:  # noqa: PLR2004
        return f"{seconds * 1e6:.0f} us"
    if seconds < 0.99995:  # noqa: PLR2004
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 59.95:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def size_text(size: float) -> str:
    """Return a number of bytes for people: ``12 B``, ``512.0 MiB``."""
    if size < 1024:  # noqa: PLR2004 - the unit changes
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024.0
        if size < 1024.0:  # noqa: PLR2004
            return f"{size:.1f} {unit}"
    return f"{size / 1024.0:,.1f} TiB"
