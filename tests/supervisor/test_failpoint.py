"""A bug of the supervisor's own, at any step of its loop: all ends, and whoever waits hears why."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from knock.core.job import JobOptions
from knock.core.machine import Machine
from knock.errors import KnockError
from knock.pool import pool
from knock.pool.pool import Pool
from knock.storage.memory import InMemoryStorage
from knock.supervisor.arrears import Arrears
from knock.supervisor.desk import Desk
from knock.supervisor.messages import Enqueue, Failed, Stop
from knock.supervisor.outage import Outage
from knock.supervisor.publisher import Publisher
from knock.supervisor.retention import Retention
from knock.supervisor.tally import Tally
from knock.supervisor.thread import ThreadMailbox
from tests.process import jobs as make
from tests.witness import LIMIT_SECONDS, wait_gone

pytestmark = pytest.mark.process

STEPS = [
    (Machine, "handle"),
    (Machine, "next_deadline"),
    (Pool, "send_jobs"),
    (Pool, "read_ledgers"),
    (Pool, "next_deadline"),
    (Pool, "tick"),
    (Pool, "kill"),
    (Desk, "take"),
    (Desk, "look_up"),
    (Desk, "throttle"),
    (Arrears, "pay"),
    (Arrears, "store"),
    (Publisher, "settled"),
    (Publisher, "flush"),
    (Retention, "told"),
    (Outage, "pass_over"),
    (Tally, "settled"),
    (ThreadMailbox, "take"),
    (ThreadMailbox, "sleep"),
    (ThreadMailbox, "put"),
    *((InMemoryStorage, verb) for verb in ("enqueue", "claim", "settle", "get", "counts")),
]
# Taken while the last word is said, too: they may fail each time.
LAST_STEPS = [(Publisher, "flush"), (ThreadMailbox, "put"), (InMemoryStorage, "get")]
AT_THE_END = [(pool, "see_dead"), (Desk, "stats"), (Tally, "facts")]


class BugError(Exception):
    """As if somebody had made a mistake."""


class Failpoint:
    """A step that fails once it is armed: the first time only, or each time."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str, *, once: bool) -> None:
        self.step = (owner, name)
        self.hits = 0
        self.is_armed = False
        step = getattr(owner, name)

        def fail_or_do(*args: Any, **kwargs: Any) -> Any:
            if self.is_armed and not (once and self.hits):
                self.hits += 1
                raise BugError("a mistake")
            return step(*args, **kwargs)

        patch.setattr(owner, name, fail_or_do)


@pytest.fixture
def place() -> str:
    return "thread"


@pytest.fixture
def told() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Let a thread wait for something that can only end in an error; all must have been told."""
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []

    def wait(ask: Callable[[], Any]) -> None:
        def note_error() -> None:
            try:
                ask()
            except KnockError as exc:
                errors.append(exc)

        threads.append(threading.Thread(target=note_error, daemon=True))
        threads[-1].start()

    yield wait
    for thread in threads:
        thread.join(LIMIT_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert len(errors) == len(threads)


@pytest.fixture
def point(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Failpoint:
    (owner, name), once = request.param
    return Failpoint(monkeypatch, owner, name, once=once)


def failpoints() -> Iterator[Any]:
    for once in (True, False):
        for owner, name in STEPS + AT_THE_END if once else LAST_STEPS + AT_THE_END:
            label = f"{owner.__name__}.{name} {'once' if once else 'always'}"
            yield pytest.param(((owner, name), once), id=label)


@pytest.mark.parametrize("point", list(failpoints()), indirect=True)
def test_a_bug_at_any_step_ends_the_pool_and_is_told(call_up, told, witness, point):
    caller = call_up(retention=0.05)
    caller.subscribe(finished=True)
    [running] = caller.add((make.spin, witness), options=JobOptions(timeout=0.5))
    [waiting] = caller.add((make.square, 3), run_at=caller.clock.now() + 1000)
    witness.wait(1)
    pids = set(caller.client.call("pids").values())
    told(lambda: caller.client.watch(waiting))
    told(caller.client.wait_idle)
    caller.stats()
    point.is_armed = True
    caller.client.post(Enqueue(None, caller.specs((make.square, 2))))
    if point.step in AT_THE_END:
        caller.client.post(Stop(caller.clock.now()))
    failed = caller.hear_last(Failed)
    assert "a mistake" in str(failed.error)
    assert point.hits
    wait_gone(pids, 5)
    with pytest.raises(KnockError, match="a mistake"):
        caller.client.watch(running)
