"""A third process that sees deaths: ``python -m tests.figures.observer FIFO LIMIT``.

What it is told, by line: ``job PID KIND START`` by a job that has LIMIT seconds from START on,
``child PID WORKER`` by a process that a job has started, ``end`` when no more will come. What it
prints when a process is dead: ``job PID KIND LATE TIMER``, with the seconds after the limit and
those by which a timer in this process, set for the same moment, was late; ``child PID WORKER LATE``
with the seconds after the death of WORKER. What lives on after the end is given up, and is "inf"
late.
"""

import os
import select
import sys
import threading
import time
from dataclasses import dataclass, field

PATIENCE_SECONDS = 3.0


@dataclass
class Timer:
    """A bare timer thread, and how late it was."""

    moment: float
    late: float | None = None
    is_over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Timer(max(0.0, self.moment - time.monotonic()), self._ring).start()

    def _ring(self) -> None:
        self.late = time.monotonic() - self.moment
        self.is_over.set()


class Observer:
    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.poll = select.poll()
        self.watched: dict[int, list[str]] = {}
        self.timers: dict[str, Timer] = {}
        self.died_at: dict[str, float] = {}
        self.is_over = False

    def told(self, words: list[str]) -> None:
        if words == ["end"]:
            self.is_over = True
            return
        if words[0] == "job":
            timer = self.timers[words[1]] = Timer(float(words[3]) + self.limit)
            timer.start()
        try:
            fd = os.pidfd_open(int(words[1]))
        except ProcessLookupError:
            self.died(words)
            return
        self.watched[fd] = words
        self.poll.register(fd, select.POLLIN)

    def died(self, words: list[str]) -> None:
        now = self.died_at[words[1]] = time.monotonic()
        if words[0] == "child":
            late = now - self.died_at.get(words[2], now)
            print(*words, late, flush=True)
            return
        timer = self.timers[words[1]]
        timer.is_over.wait()
        print(*words[:3], now - timer.moment, timer.late, flush=True)

    def give_up(self) -> None:
        for words in self.watched.values():
            print(*words[:3], "inf", *(["0"] if words[0] == "job" else []), flush=True)

    def run(self, fifo: str) -> None:
        # Written to as well, so that it has no end; and by whole lines, which are short.
        fd = os.open(fifo, os.O_RDWR)
        self.poll.register(fd, select.POLLIN)
        while self.watched or not self.is_over:
            found = self.poll.poll(PATIENCE_SECONDS * 1000 if self.is_over else None)
            if not found:
                self.give_up()
                return
            for ready, _ in found:
                if ready == fd:
                    for line in os.read(fd, 1 << 16).decode().splitlines():
                        self.told(line.split())
                else:
                    self.poll.unregister(ready)
                    self.died(self.watched.pop(ready))
                    os.close(ready)


if __name__ == "__main__":
    Observer(float(sys.argv[2])).run(sys.argv[1])
