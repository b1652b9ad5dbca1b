"""What a supervisor does for its caller, wherever it runs."""

import os
import pickle
import signal
import threading

import pytest

from knock.core.job import AttemptOutcome, DeathReason, JobOptions, JobSpec, JobState
from knock.core.policy import BreakerPolicy, JobPolicy, RetryPolicy, StopRule
from knock.errors import JobNotFoundError, QueueClosedError
from knock.pool.definition import Processor, Style, dump_definitions
from knock.supervisor.messages import (
    Ended,
    Enqueue,
    Failed,
    Logged,
    Pause,
    Progressed,
    Register,
    Resume,
    Stop,
)
from tests.process import jobs as make
from tests.supervisor import jobs
from tests.witness import wait_for

pytestmark = pytest.mark.process

QUICK = RetryPolicy(retry_attempts=2, retry_crashes=2, retry_delay=0.01, retry_delay_max=0.02)


# --- adding and waiting ---------------------------------------------------------------------------


def test_jobs_added_are_run_and_can_be_watched(caller):
    ids = caller.add(*[(make.square, n) for n in range(20)])
    assert ids == list(range(1, 21))
    assert [caller.value(job_id) for job_id in ids] == [n * n for n in range(20)]
    record = caller.watch(1)
    [attempt] = record.attempts
    assert (record.state, attempt.number) == (JobState.COMPLETED, 1)
    assert attempt.outcome is AttemptOutcome.SUCCESS
    assert attempt.worker_pid in caller.client.call("pids").values()


def test_watching_an_unknown_job_is_an_error(caller):
    with pytest.raises(JobNotFoundError):
        caller.watch(77)


def test_a_wait_that_runs_out_is_a_timeout_and_can_be_repeated(caller, witness, gate):
    [job_id] = caller.add((make.wait, witness, gate))
    with pytest.raises(TimeoutError):
        caller.client.watch(job_id, 0.05)
    with pytest.raises(TimeoutError):
        caller.client.wait_idle(0.05)
    gate.open()
    assert caller.value(job_id) == "waits"


def test_idle_is_when_nothing_is_queued_nor_runs(caller, witness):
    caller.client.wait_idle(30)
    delayed = caller.clock.now() + 0.2
    caller.add(*[(make.note, witness, n) for n in range(50)])
    caller.add((make.note, witness, "delayed"), run_at=delayed)
    caller.client.wait_idle(30)
    assert caller.clock.now() >= delayed
    assert len(witness.facts()) == 51


def test_a_request_that_cannot_be_met_says_so(caller):
    for verb, error in (("nonsense", ValueError), ("get", TypeError)):
        with pytest.raises(error):
            caller.client.call(verb)
    assert caller.value(*caller.add((make.square, 2))) == 4


def test_many_threads_may_ask_at_once(caller):
    values = {}

    def ask(n: int) -> None:
        specs = caller.specs((make.square, n))
        [job_id] = caller.client.enqueue(lambda request: Enqueue(request, specs), 30)
        values[n] = caller.value(job_id)

    lock = threading.Lock()
    specs, caller.specs = caller.specs, lambda *calls: with_lock(lock, specs, *calls)
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == {n: n * n for n in range(8)}


def with_lock(lock, fn, *args):
    with lock:
        return fn(*args)


# --- cancelling, pausing, stopping ----------------------------------------------------------------


def test_queued_and_running_jobs_can_be_cancelled(call_up, witness):
    caller = call_up(workers=1)
    running, queued, later = caller.add(
        (make.spin, witness), (make.note, witness, "queued"), (make.square, 5)
    )
    [pid] = witness.wait(1)
    assert caller.client.cancel(queued)
    assert caller.client.cancel(running)
    with pytest.raises(JobNotFoundError):
        caller.client.cancel(99)
    assert caller.watch(queued).state is JobState.CANCELLED
    record = caller.watch(running)
    assert record.state is JobState.CANCELLED
    assert [a.outcome for a in record.attempts] == [AttemptOutcome.CANCELLED]
    assert caller.watch(queued).attempts == ()
    assert caller.value(later) == 25
    assert witness.facts() == [pid]
    assert not caller.client.cancel(running)
    assert not caller.client.cancel(later)
    assert caller.stats().cancelled == 2


def test_nothing_starts_while_paused_and_what_runs_goes_on(caller, witness, gate):
    [running] = caller.add((make.wait, witness, gate))
    witness.wait(1)
    caller.client.post(Pause())
    ids = caller.add(*[(make.note, witness, n) for n in range(10)])
    gate.open()
    assert caller.value(running) == "waits"
    assert caller.stats().is_paused
    # It has had every opportunity: one more question and answer, and nothing is in flight.
    assert caller.stats().in_flight == 0
    assert witness.facts() == ["waits"]
    caller.client.post(Resume())
    assert [caller.value(job_id) for job_id in ids] == list(range(10))


def test_stopping_lets_what_runs_finish_and_starts_nothing_more(caller, witness, gate):
    caller.subscribe(finished=True)
    running = caller.add((make.wait, witness, gate, "a"), (make.wait, witness, gate, "b"))
    caller.add(*[(make.note, witness, n) for n in range(20)])
    witness.wait(2)
    caller.client.post(Stop(None))
    assert caller.stats().in_flight == 2
    gate.open()
    ended = caller.hear_last(Ended)
    assert sorted(record.spec.id for record in caller.finished()) == running
    assert ended.facts.attempts == {AttemptOutcome.SUCCESS: 2}
    assert sorted(witness.facts()) == ["a", "b"]
    with pytest.raises(QueueClosedError):
        caller.add((make.square, 1))


def test_what_runs_at_the_deadline_is_killed_and_released_uncharged(call_up, witness):
    caller = call_up(workers=1)
    running, queued = caller.add((make.spin, witness), (make.square, 1))
    witness.wait(1)
    caller.client.post(Stop(caller.clock.now()))
    ended = caller.hear_last(Ended)
    assert ended.facts.attempts == {AttemptOutcome.RELEASED: 1}
    storage = caller.storage if ended.storage is None else pickle.loads(ended.storage)
    for record in storage.get([running, queued]):
        assert (record.state, sum(record.spent)) == (JobState.QUEUED, 0)


def test_a_stop_may_be_sharpened(caller, witness):
    caller.add((make.spin, witness))
    witness.wait(1)
    caller.client.post(Stop(None))
    assert caller.client.receive(0) == []
    caller.client.post(Stop(caller.clock.now()))
    caller.hear_last(Ended)


def test_closing_ends_everything_at_once(caller, witness):
    caller.add((make.spin, witness))
    witness.wait(1)
    caller.client.close()
    caller.client.close()
    assert isinstance(caller.client.receive(0)[-1], Failed)
    with pytest.raises(QueueClosedError):
        caller.client.watch(1, 5)


# --- failing --------------------------------------------------------------------------------------


def test_retries_are_made_until_the_budget_is_spent(call_up, witness):
    caller = call_up(policy=JobPolicy(retry=QUICK))
    [lucky] = caller.add((jobs.fail_times, witness, 2))
    assert caller.value(lucky) == "at last"
    assert [a.outcome.value for a in caller.get(lucky).attempts] == ["error", "error", "success"]
    [unlucky] = caller.add((make.refuse, "no"))
    record = caller.watch(unlucky)
    assert (record.state, record.reason) == (JobState.DEAD, DeathReason.RETRIES_EXHAUSTED)
    assert len(record.attempts) == 3
    assert record.spent.failures == 3
    assert record.attempts[-1].error.message == "no"


def test_crashes_have_a_budget_of_their_own(call_up, witness):
    caller = call_up(policy=JobPolicy(retry=QUICK))
    [job_id] = caller.add((jobs.crash_times, witness, 2))
    assert caller.value(job_id) == "at last"
    record = caller.get(job_id)
    assert [a.outcome.value for a in record.attempts] == ["crash", "crash", "success"]
    assert (record.spent.crashes, record.spent.failures) == (2, 0)
    [dead] = caller.add((make.leave, 0))
    record = caller.watch(dead)
    assert (record.state, len(record.attempts)) == (JobState.DEAD, 3)
    assert record.attempts[0].death.exit_code == 0


def test_what_is_dead_can_be_queued_again_with_fresh_budgets(caller, witness):
    [job_id] = caller.add((jobs.fail_times, witness, 1))
    assert caller.watch(job_id).state is JobState.DEAD
    assert caller.client.call("requeue", [job_id, 99]) == [job_id]
    assert caller.value(job_id) == "at last"
    assert len(caller.get(job_id).attempts) == 2


def test_a_worker_that_is_killed_by_somebody_else_costs_one_attempt(caller, witness):
    [spinning] = caller.add((make.spin, witness))
    [pid] = witness.wait(1)
    os.kill(int(pid), signal.SIGKILL)
    record = caller.watch(spinning)
    assert record.attempts[0].death.cause == (
        "killed by SIGKILL, not by knock; possibly out of memory"
    )
    assert caller.value(*caller.add((make.square, 3))) == 9


def test_jobs_of_an_unknown_type_die_of_it(caller):
    [job_id] = caller.add((make.square, 1), type="unheard-of")
    record = caller.watch(job_id)
    assert (record.state, record.reason) == (JobState.DEAD, DeathReason.UNKNOWN_TYPE)


def test_a_job_that_expires_before_it_can_start_dies_of_it(call_up, witness, gate):
    caller = call_up(workers=1)
    caller.add((make.wait, witness, gate))
    witness.wait(1)
    [expiring] = caller.add((make.square, 1), expires_at=caller.clock.now() + 0.05)
    record = caller.watch(expiring)
    assert (record.state, record.reason, record.attempts) == (JobState.DEAD, "expired", ())


def test_the_stop_rule_is_told_when_it_is_reached(call_up):
    caller = call_up(stop_rule=StopRule(failures=2))
    caller.subscribe("stop_rule_reached")
    caller.add((make.refuse,), (make.refuse,))
    [event] = caller.hear(caller.events)
    assert event.name == "stop_rule_reached"
    assert "2" in event.detail


def test_a_breaker_opens_and_holds_its_type_back(call_up, witness):
    breaker = BreakerPolicy(threshold=2, reset_timeout=60)
    caller = call_up(workers=1, policy=JobPolicy(retry=RetryPolicy(), breaker=breaker))
    caller.subscribe("breaker_opened")
    caller.add((make.refuse,), (make.refuse,))
    [event] = caller.hear(caller.events)
    assert (event.name, event.job_type) == ("breaker_opened", "do")
    caller.add((make.note, witness, "held"))
    [other] = caller.add((make.square, 3), type="other")
    assert caller.value(other) == 9
    assert witness.facts() == []
    assert caller.client.call("snapshot")[2]["do"].value == "open"


# --- keeping and forgetting -----------------------------------------------------------------------


def test_finished_jobs_are_kept_as_long_as_is_wanted(call_up):
    caller = call_up(retention=0.1)
    done, dead = caller.add((make.square, 2), (make.refuse,))
    assert caller.value(done) == 4
    caller.watch(dead)
    wait_for(lambda: caller.get(done) is None)
    assert caller.get(dead).state is JobState.DEAD
    assert caller.client.call("purge", [dead]) == 1
    assert caller.get(dead) is None


def test_without_retention_a_job_is_told_and_forgotten(call_up):
    caller = call_up(retention=0, keeps_dead=False)
    caller.subscribe(finished=True)
    ids = caller.add((make.square, 2), (make.refuse,))
    caller.hear(lambda: len(caller.finished()) == 2)
    assert caller.client.call("get", ids) == [None, None]
    assert {r.spec.id: r.state.value for r in caller.finished()} == {1: "completed", 2: "dead"}


def test_stats_and_counts_agree(caller):
    caller.add((make.square, 1), (make.square, 2), (make.refuse,))
    caller.add((make.square, 3), run_at=caller.clock.now() + 100)
    for job_id in (1, 2, 3):
        caller.watch(job_id)
    # One worker may have done all of it before the other was there.
    wait_for(lambda: caller.stats().workers == 2)
    stats, counts, _ = caller.client.call("snapshot")
    assert (counts.completed, counts.dead, counts.queued, counts.delayed) == (2, 1, 1, 1)
    assert (stats.completed, stats.failed, stats.added, stats.workers) == (2, 1, 4, 2)
    dead = caller.client.call("find", state=JobState.DEAD)
    assert [record.spec.id for record in dead] == [3]


# --- what is told ---------------------------------------------------------------------------------


def test_events_that_were_asked_for_are_told_in_order(call_up):
    caller = call_up(workers=1, policy=JobPolicy(retry=QUICK))
    caller.subscribe("completed", "retrying", "dead", "cancelled", "worker_exited")
    caller.add((make.refuse, "no"), (make.leave, 3))
    caller.hear(lambda: len([e for e in caller.events() if e.name == "dead"]) == 2)
    refused = [e for e in caller.events() if e.job_id == 1]
    assert [e.name for e in refused] == ["retrying", "retrying", "dead"]
    assert refused[0].run_at > refused[0].at - 1
    assert (refused[0].job_type, refused[0].attempt.number) == ("do", 1)
    assert refused[-1].reason == DeathReason.RETRIES_EXHAUSTED
    exits = [e for e in caller.events() if e.name == "worker_exited"]
    assert [e.death.exit_code for e in exits] == [3, 3, 3]
    caller.subscribe("cancelled")
    [job_id] = caller.add((make.square, 1), run_at=caller.clock.now() + 100)
    assert caller.client.cancel(job_id)
    caller.hear(lambda: caller.events()[-1].name == "cancelled")
    assert caller.events()[-1].job_id == job_id


def test_what_jobs_say_arrives(caller):
    [job_id] = caller.add((jobs.say, "hello"))
    caller.watch(job_id)
    caller.hear(lambda: len(caller.messages) >= 2)
    logged = [m for m in caller.messages if isinstance(m, Logged)]
    [progressed] = [m for m in caller.messages if isinstance(m, Progressed)]
    [entry] = logged[0].entries
    assert (entry.job_id, entry.job_type, entry.attempt) == (job_id, "do", 1)
    assert entry.line.text == "hello"
    assert (progressed.job_id, progressed.done, progressed.total) == (job_id, 1, 2)


def test_types_may_be_registered_later(caller):
    processors = {"late": Processor(make.square, Style.ITEM)}
    caller.client.post(
        Register("late", JobPolicy(retry=QUICK), dump_definitions(processors=processors))
    )
    now = caller.clock.now()
    spec = JobSpec(500, "late", pickle.dumps(7), 1, now, now)
    caller.client.enqueue(lambda request: Enqueue(request, [spec]))
    assert caller.value(500) == 49


def test_a_job_may_override_the_policy(call_up):
    caller = call_up(policy=JobPolicy(retry=QUICK))
    [job_id] = caller.add((make.refuse,), options=JobOptions(retry_attempts=0))
    assert len(caller.watch(job_id).attempts) == 1


def test_a_full_outbox_holds_dispatching_but_not_limits(call_up, witness, gate):
    caller = call_up(outbox_limit=10, workers=2, policy=JobPolicy(timeout=1.0, retry=RetryPolicy()))
    caller.subscribe(finished=True)
    [hanging] = caller.add((make.spin, witness))
    witness.wait(1)
    ids = caller.add(*[(make.note, witness, n) for n in range(500)])
    # The caller takes nothing: so far ahead and no further.
    assert caller.watch(hanging).attempts[-1].outcome is AttemptOutcome.TIMEOUT
    wait_for(lambda: caller.stats().in_flight == 0)
    ran = len(witness.facts()) - 1
    assert 0 < ran < 200
    # Taking goes on where it was held.
    caller.hear(lambda: len(caller.finished()) == 501)
    assert sorted(record.spec.id for record in caller.finished()) == [hanging, *ids]
    assert len(witness.facts()) == 501


# --- jobs that add jobs ---------------------------------------------------------------------------


def test_a_job_may_add_jobs(caller, witness):
    [job_id] = caller.add(
        (jobs.add, "do", (make.note, witness, "child"), (jobs.add, "other", (make.square, 4)))
    )
    first, second = caller.value(job_id)
    assert caller.value(first) == "child"
    [third] = caller.value(second)
    assert caller.value(third) == 16
    assert caller.stats().added == 4


def test_a_job_cannot_add_what_nobody_can_run_nor_ask_for_anything_else(caller):
    unknown, nonsense = caller.add((jobs.add, "unheard-of", 1), (jobs.ask_nonsense,))
    error = caller.watch(unknown).attempts[-1].error
    assert error.type_name.endswith("ProcessorNotFoundError")
    assert b"no such verb" in caller.value(nonsense)
