"""From wherever a queue is used: many threads, coroutines, the last moments of a program."""

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from knock.core.job import DeathReason, JobState
from knock.errors import JobCancelledError, JobNotFoundError, QueueClosedError
from tests.queue import jobs
from tests.queue.program import run
from tests.queue.wait import wait_for
from tests.witness import Witness, wait_for as wait_until

pytestmark = pytest.mark.process

THREADS = 32


def in_threads(number: int, work: Any) -> list[Any]:
    """Call ``work(n)`` in so many threads at once; return what they return or raise."""
    told: list[Any] = [None] * number
    start = threading.Barrier(number)

    def call(n: int) -> None:
        start.wait()
        try:
            told[n] = work(n)
        except Exception as exc:
            told[n] = exc

    threads = [threading.Thread(target=call, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return told


def test_32_threads_may_use_one_queue(queue):
    queue.process("double", jobs.double)
    queue.start()

    def work(n: int) -> list[int]:
        ids = queue.add_many("double", range(n, n + 5), priority="high")
        ids.append(queue.add("double", n, delay=0.01))
        queue.cancel(queue.add("double", 0, delay=1000))
        assert queue.get_stats().queued >= 0
        assert queue.get_job(ids[0]).spec.id == ids[0]
        return [queue.result(job_id, 60) for job_id in ids]

    expected = [[2 * m for m in (*range(n, n + 5), n)] for n in range(THREADS)]
    assert in_threads(THREADS, work) == expected
    queue.join(60)
    stats = queue.get_stats()
    assert (stats.completed, stats.cancelled) == (THREADS * 6, THREADS)


def test_a_coroutine_that_is_cancelled_while_it_waits_leaves_its_job_alone(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    queue.start()
    path = tmp_path / "f"

    async def main() -> tuple[int, bool]:
        job_id = await asyncio.to_thread(queue.add, "mark", (str(path), 0.5))
        waiting = asyncio.create_task(asyncio.to_thread(queue.result, job_id, 30))
        await asyncio.to_thread(wait_for, path)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return job_id, waiting.cancelled()

    job_id, is_cancelled = asyncio.run(main())
    assert is_cancelled
    assert queue.result(job_id, 30) is None
    assert queue.get_job(job_id).state is JobState.COMPLETED
    assert path.read_text() == "x"


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_added_at_exit_is_run_or_refused(when, place, tmp_path):
    done = run(
        f"""
        import atexit
        from knock.errors import QueueClosedError
        from knock.queue import Queue
        queue = Queue(supervisor={place!r}, concurrency=1)
        queue.process("say", lambda job: print(job.data, flush=True))

        def add_late():
            try:
                queue.add("say", "late")
            except QueueClosedError as exc:
                print("refused:", exc)

        if {when!r} == "before":
            atexit.register(add_late)  # called after the queue's own function
        queue.start()
        if {when!r} == "after":
            atexit.register(add_late)
        queue.add("say", "early")
        """,
        tmp_path=tmp_path,
    )
    late = "late" if when == "after" else "refused: no jobs are taken: the queue was stopped"
    assert (done.stdout, done.stderr, done.returncode) == (f"early\n{late}\n", "", 0)


# --- what became of a job -------------------------------------------------------------------------


def test_a_running_job_that_many_cancel_is_cancelled_by_one(queue, tmp_path):
    queue.process("mark", jobs.mark_and_sleep)
    queue.start()
    path = tmp_path / "f"
    job_id = queue.add("mark", (str(path), 60))
    wait_for(path)
    told = in_threads(8, lambda _: queue.cancel(job_id))
    assert set(told) <= {True, False}
    assert told.count(True) >= 1
    [attempt] = queue.get_job(job_id).attempts
    assert attempt.outcome == "cancelled"
    assert sum(queue.get_job(job_id).spent) == 0
    assert not queue.cancel(job_id)


def test_a_cancel_that_races_with_the_end_of_its_job_tells_the_truth(queue, tmp_path):
    witness = Witness(str(tmp_path / "witness"))
    queue.process("append", jobs.append)
    queue.start()
    ids = queue.add_many("append", [(witness.path, n) for n in range(200)])
    told = in_threads(4, lambda n: {i: queue.cancel(i) for i in ids[n % 2 :: 2]})
    queue.join(60)
    runs = Counter(witness.facts())
    assert max(runs.values(), default=1) == 1
    for number, job_id in enumerate(ids):
        record = queue.get_job(job_id)
        was_cancelled = any(answers.get(job_id) for answers in told)
        assert was_cancelled == (record.state is JobState.CANCELLED)
        assert record.state in (JobState.CANCELLED, JobState.COMPLETED)
        assert runs[str(number)] == 1 or record.state is JobState.CANCELLED


def test_each_way_to_have_no_value_has_an_answer_of_its_own(make_queue):
    queue = make_queue(retention=0.05, retry_attempts=0, concurrency=1)
    queue.process("double", jobs.double)
    queue.process("refuse", jobs.refuse)
    queue.start()
    pruned, dead = queue.add("double", 1), queue.add("refuse", "no")
    cancelled, waiting = queue.add("double", 1, delay=1000), queue.add("double", 1, delay=1000)
    queue.cancel(cancelled)
    wait_until(lambda: isinstance(answer_of(queue, pruned), JobNotFoundError))
    assert isinstance(answer_of(queue, dead), jobs.RefusedError)
    assert isinstance(answer_of(queue, 10**6), JobNotFoundError)
    assert isinstance(answer_of(queue, waiting), TimeoutError)
    assert isinstance(answer_of(queue, cancelled), JobCancelledError | JobNotFoundError)
    queue.stop()
    assert isinstance(answer_of(queue, waiting), QueueClosedError)


def answer_of(queue: Any, job_id: int) -> Exception | None:
    try:
        queue.result(job_id, 0.1)
    except Exception as exc:
        return exc
    return None


# --- dead letters ---------------------------------------------------------------------------------


def test_a_dead_letter_that_many_try_again_at_once_is_tried_once(queue, tmp_path):
    witness = Witness(str(tmp_path / "witness"))
    queue.process("refuse", refuse_and_note, retry_attempts=0, circuit_breaker_threshold=None)
    queue.start()
    job_id = queue.add("refuse", witness)
    queue.join(30)
    told = in_threads(8, lambda _: queue.retry_dead_letters([job_id, job_id]))
    queue.join(30)
    # Each time that it was dead again in between it was tried again, and never twice at once.
    times = sum(map(len, told))
    assert 1 <= times <= 8
    # With fresh budgets its attempts are counted anew.
    assert witness.facts() == ["attempt 1"] * (times + 1)
    assert len(queue.get_job(job_id).attempts) == times + 1


def refuse_and_note(job: Any) -> None:
    job.data.note(f"attempt {job.attempt}")
    raise jobs.RefusedError


def test_dead_letters_without_a_processor_or_with_data_of_the_past_die_again(
    make_queue, monkeypatch
):
    queue = make_queue(retry_attempts=0)
    queue.process("double", jobs.double)
    with monkeypatch.context() as patch:
        # No worker will find it: it is in this process only, and only now.
        moved = type("Moved", (), {"__module__": __name__})
        patch.setitem(globals(), "Moved", moved)
        undecodable = queue.add("double", moved())
    unknown = queue.add("renamed")
    queue.start()
    queue.join(30)
    for attempts in (1, 2):
        assert queue.get_job(unknown).reason == DeathReason.UNKNOWN_TYPE
        record = queue.get_job(undecodable)
        assert len(record.attempts) == attempts
        assert "cannot unpickle the data" in record.attempts[-1].error.message
        assert sorted(queue.retry_dead_letters()) == [undecodable, unknown]
        queue.join(30)
    assert queue.purge_dead_letters([unknown]) == 1
    assert queue.retry_dead_letters([unknown]) == []
