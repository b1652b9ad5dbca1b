"""A pool without its machine: each command is given by hand, each event looked at."""

import selectors
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from knock.core.commands import (
    KillCause,
)
from knock.core.events import (
    AttemptEnded,
    AttemptsEnded,
    Event,
    JobsHandedBack,
    KillDropped,
    PermitsRevoked,
    WorkerExited,
    WorkerReady,
)
from knock.core.handout import Dispatch
from knock.core.job import JobSpec
from knock.pool.clock import Clock
from knock.pool.definition import (
    ItemPickler,
    Limits,
    Processor,
    Style,
    dump_definitions,
    load_result,
)
from knock.pool.pool import Pool
from knock.pool.settings import PoolSettings
from tests.process import jobs
from tests.witness import LIMIT_SECONDS, ROOT

E = TypeVar("E")


class Drive:
    """One pool, driven. ``events`` is everything that it told."""

    def __init__(
        self,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **settings: Any,
    ) -> None:
        # Two types, so that one can be held back, and one that may use two threads.
        processors = {name: Processor(jobs.do, Style.ITEM) for name in ("do", "other")}
        processors["wide"] = Processor(jobs.do, Style.ITEM, limits=Limits(threads=2))
        definitions = dump_definitions(initializer, initargs, processors)
        defaults: dict[str, Any] = {"sys_path": (ROOT, *sys.path)}
        self.clock = Clock.start()
        self.selector = selectors.DefaultSelector()
        self.pool = Pool(
            PoolSettings(definitions=definitions, **(defaults | settings)),
            self.clock,
            self.selector,
        )
        self.events: list[Event] = []
        self.sent: list[int] = []
        self._ticket = 0
        self._pickler = ItemPickler()

    # --- commands ---

    def start(self, *workers: int, generation: int = 1) -> "Drive":
        """Start workers and wait until they are ready."""
        for worker in workers or (0,):
            self.pool.start_worker(worker, generation)
        ready = len(self.all(WorkerReady)) + len(workers or (0,))
        self.until(lambda: len(self.all(WorkerReady)) >= ready)
        return self

    def send(self, *calls: tuple[Any, ...], worker: int = 0, generation: int = 1) -> list[int]:
        """Send jobs, each a function and its arguments; return their tickets."""
        return self.send_as("do", *calls, worker=worker, generation=generation)

    def send_as(
        self, job_type: str, *calls: tuple[Any, ...], worker: int = 0, generation: int = 1
    ) -> list[int]:
        dispatches = []
        for call in calls:
            self._ticket += 1
            payload = self._pickler.dumps(call)
            spec = JobSpec(self._ticket + 1000, job_type, payload, 1, 0.0, 0.0)
            dispatches.append(Dispatch(self._ticket, spec, 1))
        self.pool.send_jobs(worker, generation, dispatches)
        tickets = [dispatch.ticket for dispatch in dispatches]
        self.sent += tickets
        return tickets

    def kill(
        self,
        ticket: int | None,
        worker: int = 0,
        cause: KillCause = KillCause.TIMEOUT,
        generation: int = 1,
    ) -> list[Event]:
        return self._told(self.pool.kill(worker, generation, ticket, cause))

    def revoke(self, *tickets: int) -> list[int]:
        [answer] = self._told(self.pool.revoke(0, 1, tickets))
        assert isinstance(answer, PermitsRevoked)
        return list(answer.tickets)

    # --- events ---

    def turn(self, seconds: float = 0.0) -> None:
        """Listen once, up to so long."""
        deadline = self.pool.next_deadline()
        if deadline is not None:
            seconds = min(seconds, max(0.0, deadline - self.clock.now()))
        for key, mask in self.selector.select(seconds):
            self._told(key.data(mask))
        self._told(self.pool.tick())

    def _told(self, events: list[Event]) -> list[Event]:
        self.events += events
        return events

    def until(self, is_met: Callable[[], Any], seconds: float = LIMIT_SECONDS) -> Any:
        """Listen until it is so; return what it is."""
        limit = time.monotonic() + seconds
        while not (fact := is_met()):
            assert time.monotonic() < limit, self.events
            self.turn(0.05)
        return fact

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def ended(self) -> dict[int, AttemptEnded]:
        """All jobs that came back by themselves, by ticket, in that order."""
        return {e.ticket: e for event in self.all(AttemptsEnded) for e in event.ended}

    def values(self, tickets: list[int]) -> list[Any]:
        """Wait for these and return what they returned."""
        self.until(lambda: self.ended().keys() >= set(tickets))
        return [self._value(self.ended()[ticket]) for ticket in tickets]

    def _value(self, ended: AttemptEnded) -> Any:
        assert ended.error is None, ended.error.traceback
        assert ended.result is not None
        return load_result(ended.result)

    def handed_back(self) -> list[int]:
        return [ticket for event in self.all(JobsHandedBack) for ticket in event.tickets]

    def exit(self, worker: int = 0) -> WorkerExited:
        """Wait for the death of this worker, and look who must have done it."""
        return self.until(lambda: next((e for e in self.exits() if e.worker == worker), None))

    def exits(self) -> list[WorkerExited]:
        return self.all(WorkerExited)

    def guilty(self) -> set[int]:
        """The tickets of which nothing was told: the only worker's death is theirs."""
        [exited] = self.exits()
        told = [*self.ended(), *self.handed_back(), *exited.unstarted]
        assert len(told) == len(set(told)), "something was told twice"
        return set(self.sent) - set(told)

    def pid(self, worker: int = 0) -> int:
        return self.until(lambda: self.pool.pids().get(worker))

    def dropped(self) -> list[int]:
        return [event.ticket for event in self.all(KillDropped)]

    def close(self) -> None:
        self.pool.close()
        self.selector.close()
