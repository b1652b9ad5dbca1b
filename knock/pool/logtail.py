"""The last lines that a job has logged, kept for the case that it fails."""

import logging
from collections import deque

from knock.protocol.logline import LogLine

MAX_LINES = 50
MAX_CHARACTERS = 1 << 14


class LogTail:
    """The last lines of one job at a time, in bounded memory; made into text only when asked."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: deque[LogLine] = deque(maxlen=MAX_LINES)

    def __len__(self) -> int:
        return len(self._last)

    def add(self, line: LogLine) -> None:
        """Take a line, which may have several of them in its text."""
        if len(line.text) > MAX_CHARACTERS:
            line = line._replace(text=line.text[-MAX_CHARACTERS:])
        self._last.append(line)

    def clear(self) -> None:
        """Forget all: another job comes."""
        self._last.clear()

    def lines(self) -> tuple[str, ...]:
        """Return the last lines as text, the last one last."""
        kept: deque[str] = deque()
        room = MAX_CHARACTERS
        for line in reversed(self._last):
            for text in reversed(_text_of(line).splitlines()):
                if len(kept) == MAX_LINES or room <= 0:
                    return tuple(kept)
                kept.appendleft(text[-room:])
                room -= len(kept[0])
        return tuple(kept)


def _text_of(line: LogLine) -> str:
    return f"{logging.getLevelName(line.level)} {line.origin.name}: {line.text}"
