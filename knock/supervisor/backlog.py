"""Log entries on their way to the caller, bounded wherever they may have to wait."""

from collections.abc import Iterable

from knock.supervisor.messages import LogEntry, Logged

# Beyond these, entries are dropped, so that a chatty job cannot fill anybody's memory.
MAX_ENTRIES = 10_000
MAX_CHARACTERS = 1 << 24


class Backlog:
    """Entries that wait, and the number of those for which there was no room. Not locked."""

    def __init__(self) -> None:
        self._entries: list[LogEntry] = []
        self._characters = 0
        self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self._entries or self._dropped)

    def add(self, entry: LogEntry) -> None:
        """Take an entry, or drop it."""
        if len(self._entries) >= MAX_ENTRIES or self._characters >= MAX_CHARACTERS:
            self._dropped += 1
            return
        self._entries.append(entry)
        self._characters += len(entry.line.text)

    def extend(self, entries: Iterable[LogEntry], dropped: int) -> None:
        """Take entries of which ``dropped`` more were dropped elsewhere."""
        self._dropped += dropped
        for entry in entries:
            self.add(entry)

    def take(self) -> Logged:
        """Return all that waits, and what was dropped since the last call."""
        logged = Logged(self._entries, self._dropped)
        self._entries, self._characters, self._dropped = [], 0, 0
        return logged
