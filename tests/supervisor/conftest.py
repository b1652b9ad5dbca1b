"""Supervisors that are closed in the end, in both places."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from knock.core.job import JobRecord, JobSpec
from knock.core.policy import JobPolicy, RetryPolicy
from knock.pool.clock import Clock
from knock.pool.definition import ItemPickler, Processor, Style, dump_definitions, load_result
from knock.pool.settings import PoolSettings
from knock.storage.base import Storage
from knock.storage.memory import InMemoryStorage
from knock.supervisor.messages import Enqueue, Events, Finished, Outbound, QueueEvent, Subscribe
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.start import start_supervisor
from tests.supervisor import jobs
from tests.witness import LIMIT_SECONDS, ROOT

ONCE = RetryPolicy(retry_attempts=0)


class Caller:
    """A supervisor and its caller."""

    def __init__(
        self,
        place: Any,
        *,
        storage: Storage | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        policy: JobPolicy | None = None,
        start_method: Any = "forkserver",
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock or Clock.start()
        types = ("do", "other")
        processors = {name: Processor(jobs.do, Style.ITEM) for name in types}
        pool = PoolSettings(
            definitions=dump_definitions(initializer, initargs, processors),
            start_method=start_method,
            sys_path=(ROOT, *sys.path),
        )
        policy = policy or JobPolicy(retry=ONCE)
        defaults: dict[str, Any] = {"workers": 2, "policies": dict.fromkeys(types, policy)}
        self.options = SupervisorOptions(pool=pool, clock=self.clock, **(defaults | options))
        self.storage = storage or InMemoryStorage()
        self.client = start_supervisor(self.options, self.storage, place)
        self._pickler = ItemPickler()
        self._next_id = 1
        self.messages: list[Outbound] = []

    def specs(self, *calls: tuple[Any, ...], **fields: Any) -> list[JobSpec]:
        specs = []
        for call in calls:
            now = self.clock.now()
            facts: dict[str, Any] = {"type": "do", "priority": 1, "run_at": now, "created_at": now}
            payload = self._pickler.dumps(call)
            specs.append(JobSpec(id=self._next_id, payload=payload, **(facts | fields)))
            self._next_id += 1
        return specs

    def add(self, *calls: tuple[Any, ...], **fields: Any) -> list[int]:
        """Add jobs, each a function and its arguments; return their ids."""
        specs = self.specs(*calls, **fields)
        return self.client.enqueue(lambda request: Enqueue(request, specs), LIMIT_SECONDS)

    def watch(self, job_id: int) -> JobRecord:
        return self.client.watch(job_id, LIMIT_SECONDS)

    def value(self, job_id: int) -> Any:
        record = self.watch(job_id)
        assert record.result is not None, record
        return load_result(record.result)

    def get(self, job_id: int) -> JobRecord:
        [record] = self.client.call("get", [job_id], timeout=LIMIT_SECONDS)
        return record

    def stats(self) -> Any:
        return self.client.call("snapshot", timeout=LIMIT_SECONDS)[0]

    def subscribe(self, *names: str, finished: bool = False) -> None:
        self.client.post(Subscribe(finished, frozenset(names)))

    def hear(self, is_met: Callable[[], Any]) -> Any:
        """Receive until it is so."""
        until = self.clock.now() + LIMIT_SECONDS
        while not (fact := is_met()):
            assert self.clock.now() < until, self.messages
            self.messages += self.client.receive(1.0)
        return fact

    def hear_last(self, kind: type) -> Any:
        """Receive until a message of this kind is the last."""
        self.hear(lambda: self.messages and isinstance(self.messages[-1], kind))
        return self.messages[-1]

    def finished(self) -> list[JobRecord]:
        return [r for m in self.messages if isinstance(m, Finished) for r in m.records]

    def events(self) -> list[QueueEvent]:
        return [e for m in self.messages if isinstance(m, Events) for e in m.events]


@pytest.fixture(params=["process", "thread"])
def place(request: pytest.FixtureRequest) -> str:
    """Where the supervisor runs."""
    return str(request.param)


@pytest.fixture
def call_up(place: str) -> Iterator[Callable[..., Caller]]:
    """Start supervisors; nothing of them is left in the end."""
    callers: list[Caller] = []

    def make(**options: Any) -> Caller:
        callers.append(Caller(place, **options))
        return callers[-1]

    yield make
    for caller in callers:
        caller.client.close()


@pytest.fixture
def caller(call_up: Callable[..., Caller]) -> Caller:
    return call_up()
