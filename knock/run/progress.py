"""Progress of a batch on standard error."""

import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from knock.text import counted, seconds_text

# A line now and then, for logs.
LINE_SECONDS = 10.0
# A bar need not move more often.
_BAR_SECONDS = 0.1


class Display(Protocol):
    """Shows how far a batch is. All numbers are of jobs."""

    def update(self, done: int, failed: int, retried: int, total: int | None) -> None:
        """Show the numbers, if it is time to."""

    def next_update(self) -> float | None:
        """Seconds until ``update`` would show something; None for never."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Silence:
    """See ``Display``: shows nothing."""

    def update(self, done: int, failed: int, retried: int, total: int | None) -> None:
        """See ``Display``."""

    def next_update(self) -> float | None:
        """See ``Display``."""
        return None

    def close(self) -> None:
        """See ``Display``."""


class Lines:
    """See ``Display``: a plain line every ten seconds, where there is no terminal."""

    def __init__(self, write: Callable[[str], object], now: Callable[[], float]) -> None:
        self._write = write
        self._now = now
        self._started_at = now()
        self._next_at = self._started_at + LINE_SECONDS

    def update(self, done: int, failed: int, retried: int, total: int | None) -> None:
        """See ``Display``."""
        now = self._now()
        if now >= self._next_at:
            self._next_at = now + LINE_SECONDS
            line = progress_line(done, failed, retried, total, now - self._started_at)
            try:
                self._write(line + "\n")
            except (OSError, ValueError):
                # Nobody reads any more: the batch goes on without.
                self._next_at = float("inf")

    def next_update(self) -> float | None:
        """See ``Display``."""
        return max(0.0, min(self._next_at - self._now(), LINE_SECONDS))

    def close(self) -> None:
        """See ``Display``."""


def progress_line(done: int, failed: int, retried: int, total: int | None, seconds: float) -> str:
    """Return the progress as one line of text."""
    jobs = counted(done, "job") if total is None else f"{done:,} of {counted(total, 'job')}"
    rate = done / seconds if seconds > 0 else 0.0
    parts = [f"knock: {jobs} done", f"{rate:,.1f}/s"]
    if total is not None and rate > 0:
        parts.append(f"{seconds_text((total - done) / rate)} left")
    if failed:
        parts.append(f"{failed:,} failed")
    if retried:
        parts.append(f"{retried:,} retried")
    return ", ".join(parts)


class Bar:
    """See ``Display``: a bar with rate, time left, failures and retries, on a terminal.

    A terminal that goes away is no reason to end a batch: the bar falls silent.
    """

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, failed="", rate="")
        self._started_at = monotonic()
        self._next_at = 0.0
        self._is_silent = False
        self._draw(progress.start)

    def update(self, done: int, failed: int, retried: int, total: int | None) -> None:
        """See ``Display``."""
        now = monotonic()
        if self._is_silent or (now < self._next_at and done != total):
            return
        self._next_at = now + _BAR_SECONDS
        seconds = now - self._started_at
        notes = [f"{failed:,} failed"] if failed else []
        if retried:
            notes.append(f"{retried:,} retried")
        self._draw(
            self._progress.update,
            self._task,
            completed=done,
            total=total,
            failed=", ".join(notes),
            rate=f"{done / seconds:,.1f}/s" if seconds > 0 else "",
            refresh=True,
        )

    def next_update(self) -> float | None:
        """See ``Display``."""
        return None if self._is_silent else _BAR_SECONDS

    def close(self) -> None:
        """See ``Display``."""
        self._draw(self._progress.stop)

    def _draw(self, draw: Callable[..., object], *args: object, **kwargs: object) -> None:
        try:
            draw(*args, **kwargs)
        except (OSError, ValueError):
            self._is_silent = True


def choose_display(wanted: bool | None) -> Display:
    """Return the display for standard error: a bar, lines, or silence."""
    if wanted is False or sys.stderr is None or getattr(sys.stderr, "closed", False):
        return Silence()
    if sys.stderr.isatty():
        bar = _make_bar()
        if bar is not None:
            return bar
    return Lines(sys.stderr.write, monotonic)


def _make_bar() -> Bar | None:
    # Loaded only where a bar is drawn; without rich there are lines.
    try:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        console=Console(file=sys.stderr),
        # Drawn by the thread that runs the batch: none of its own.
        auto_refresh=False,
        transient=True,
    )
    return Bar(progress)
