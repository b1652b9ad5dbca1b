"""A worker that begins nothing is replaced, and nobody is charged for it."""

import pytest

from knock.core.job import AttemptOutcome, JobState
from tests.process import jobs as make
from tests.supervisor import jobs
from tests.supervisor.conftest import Caller

pytestmark = pytest.mark.process


@pytest.fixture
def impatient(monkeypatch):
    for module in ("dispatch", "fleet"):
        monkeypatch.setattr(f"knock.core.{module}.START_SECONDS", 0.3)
    monkeypatch.setattr("knock.core.fleet.CONFIRM_SECONDS", 0.2)
    caller = Caller("thread", workers=1)
    yield caller
    caller.client.close()


def test_a_job_that_its_worker_cannot_begin_is_given_to_another(impatient, witness, gate):
    caller = impatient
    caller.subscribe("worker_exited")
    [leaving] = caller.add((jobs.leave_a_thread_that_holds_the_gil, witness, gate))
    first = caller.watch(leaving).attempts[-1].worker_pid
    gate.open()
    witness.wait(1)
    # The thread has the GIL now, or will have it soon.
    pid = first
    while pid == first:
        [job_id] = caller.add((make.pid,))
        record = caller.watch(job_id)
        assert record.state is JobState.COMPLETED
        assert record.attempts[-1].outcome is AttemptOutcome.SUCCESS
        assert not any(record.spent)
        pid = record.attempts[-1].worker_pid
    [exited] = caller.hear(caller.events)
    assert exited.death.ordered == "unresponsive"
    assert "in spin\n" in exited.death.stderr
    assert caller.get(leaving).state is JobState.COMPLETED
