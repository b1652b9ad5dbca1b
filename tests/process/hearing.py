"""A supervisor's ear, and a worker's mouth that says anything."""

import os
import time
from random import Random

from knock.core.events import AttemptsEnded, Event, JobsHandedBack
from knock.core.handout import Dispatch
from knock.core.job import JobSpec
from knock.pool.handle import Handle
from knock.pool.hearing import WorkerMessage, hear
from tests.mutation import a_mutated_stream, pieces_of, spoil_ledger

SPEC = JobSpec(1, "do", b"x", 1, 0.0, 0.0)
TICKETS = [11, 12, 13, 14]


class Ear:
    """One worker's handle that listens as the pool does; ``longest`` is a turn's CPU time."""

    def __init__(self) -> None:
        self.handle = Handle(0, 1)
        channel, _, ledger, *_ = self.handle.worker_fds()
        self.mouth, self.ledger = channel, ledger
        self.events: list[Event] = []
        self.said: list[WorkerMessage] = []
        self.longest = 0.0

    def give(self, rng: Random) -> list[int]:
        """Send jobs, of which the worker takes some; return those."""
        self.handle.send_jobs([Dispatch(ticket, SPEC, 1) for ticket in TICKETS])
        taken = rng.randrange(len(TICKETS) + 1)
        if taken:
            os.read(self.handle.permits.worker_end.fd, 8 * taken)
        return TICKETS[:taken]

    def hear(self, piece: bytes) -> None:
        """Hear what the worker sends in one go."""
        os.write(self.mouth, piece)
        started = time.thread_time()
        channel = self.handle.channel
        frames = channel.receive()
        if frames and self.handle.violation is None:
            self.events += hear(self.handle, frames, lambda ns: ns * 1e-9, self.said.append)
        if channel.violation is not None:
            self.handle.violate(channel.violation)
        self.handle.ledger.read()
        self.longest = max(self.longest, time.thread_time() - started)

    def answered(self) -> list[int]:
        """All tickets that were told as over, in order."""
        found: list[int] = []
        for event in self.events:
            if isinstance(event, AttemptsEnded):
                found += [ended.ticket for ended in event.ended]
            elif isinstance(event, JobsHandedBack):
                found += event.tickets
        return found

    def close(self) -> None:
        self.handle.close()


def play(rng: Random) -> float:
    """Let one worker send nonsense; return the longest turn. AssertionError if it is believed."""
    ear = Ear()
    try:
        taken = ear.give(rng)
        if rng.random() < 0.3:
            os.pwrite(ear.ledger, spoil_ledger(rng, rng.choice(TICKETS)), 0)
        for piece in pieces_of(rng, a_mutated_stream(rng, [*TICKETS, 99])):
            ear.hear(piece)
        # Whatever it said, it speaks for what it took, in that order, once.
        answered = ear.answered()
        assert answered == taken[: len(answered)], (answered, taken)
        assert {*answered, *ear.handle.window} == set(TICKETS)
    finally:
        ear.close()
    return ear.longest
