"""A worker process: boot, jobs in the order of permits, and its end."""

import json
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from knock.core.events import (
    AttemptEnded,
)
from knock.core.job import AttemptOutcome
from knock.pool import worker as worker_module
from knock.pool.definition import Processor, Style, dump_definitions
from knock.protocol.logline import LogLine
from knock.protocol.message import Call, Progress, encode_answer
from tests.worker import jobs
from tests.worker.harness import LocalWorker, definitions_of, run_one, wait_for

pytestmark = pytest.mark.process


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


# --- booting and ending ---


def test_a_fault_that_cannot_be_printed_does_not_unwind_into_what_was_forked_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise SystemExit(5)

    monkeypatch.setattr(worker_module, "_work", fail)
    monkeypatch.setattr("traceback.print_exc", fail)
    pid = os.fork()
    if pid == 0:
        try:
            worker_module.worker_main(None, parent_pid=0)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 70


def test_worker_boots_runs_its_initializer_and_ends_in_order(tmp_path: Path) -> None:
    path = tmp_path / "end"
    blob = definitions_of(jobs.draw, initializer=jobs.seed_and_register, initargs=(str(path),))
    with LocalWorker(blob) as worker:
        worker.ready()
        assert worker.said() == "booting\n"
        # Seeded by the initializer, which comes after knock's own seeding.
        assert worker.value("job", None) == pytest.approx(0.32383276483316237)
        assert worker.end() == 0
        assert path.read_text() == "ended in order"


@pytest.mark.parametrize(
    "initializer, detail",
    [(jobs.fail_to_boot, "ValueError: bad setting"), (jobs.exit_at_boot, "cannot go on")],
)
def test_failing_initializer_is_told_with_its_traceback(initializer: Any, detail: str) -> None:
    with LocalWorker(dump_definitions(initializer)) as worker:
        told = worker.hear()
        assert told.startswith("Traceback")
        assert detail in told
        assert f"in {initializer.__name__}" in told
        assert "knock/pool" not in told
        assert worker.process.wait(10) == 1
        assert worker.said() == ("last words\n" if initializer is jobs.fail_to_boot else "")


def test_definitions_that_cannot_be_loaded_are_told() -> None:
    blob = definitions_of(jobs.echo).replace(b"tests.worker.jobs", b"tests.worker.gone")
    with LocalWorker(blob) as worker:
        assert "No module named 'tests.worker.gone'" in worker.hear()
        assert worker.process.wait(10) == 1


def test_worker_takes_over_settings_and_stands_alone() -> None:
    blob = definitions_of(jobs.describe_process)
    with LocalWorker(blob, argv=("script", "--flag")) as worker:
        facts = worker.ready().value("job", None)
    assert facts.pop("path")[0] == str(Path(__file__).parents[2])
    assert facts.pop("main") == [
        "__builtins__",
        "__doc__",
        "__loader__",
        "__name__",
        "__package__",
        "__spec__",
    ]
    assert facts == {
        "session": True,
        "sigint": True,
        "sigterm": True,
        "input": None,
        "argv": ["script", "--flag"],
        "frozen": True,
    }


@pytest.mark.parametrize("job", [jobs.spin_in_c, jobs.spin_with_child])
def test_worker_and_its_children_die_when_the_supervisor_does(job: Any, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    with LocalWorker(definitions_of(job)) as worker:
        worker.ready()
        worker.permit(worker.hand("job", pickle.dumps(str(path))))
        wait_for(lambda: path.exists() and path.read_text())
        os.close(worker.dead_man)
        worker.dead_man = -1
        assert worker.process.wait(5) == -signal.SIGKILL
        for pid in map(int, path.read_text().split()):
            wait_for(lambda pid=pid: not is_alive(pid))


def test_stack_of_a_crash_is_in_the_scribble_file() -> None:
    with LocalWorker(definitions_of(jobs.segfault)) as worker:
        worker.ready()
        worker.permit(worker.hand("job", pickle.dumps(0)))
        assert worker.process.wait(10) == -signal.SIGSEGV
        assert "Segmentation fault" in worker.said()
        assert "in segfault" in worker.said()


# --- permits ---


def test_jobs_run_in_the_order_of_permits_and_revoked_ones_never() -> None:
    with LocalWorker(definitions_of(jobs.echo)) as worker:
        worker.ready()
        tickets = [worker.hand("job", pickle.dumps(number)) for number in range(6)]
        worker.permit(tickets[1], tickets[2], tickets[5])
        ended = [worker.hear() for _ in range(3)]
        assert [(e.ticket, pickle.loads(e.result)) for e in ended] == [(2, 1), (3, 2), (6, 5)]


def test_permit_may_come_before_its_job() -> None:
    with LocalWorker(definitions_of(jobs.echo)) as worker:
        worker.ready()
        worker.permit(1, 2)
        worker.hand("job", pickle.dumps("a"))
        worker.hand("job", pickle.dumps("b" * 3_000_000))
        assert pickle.loads(worker.hear().result) == "a"
        assert len(pickle.loads(worker.hear().result)) == 3_000_000


def test_job_larger_than_the_channel_arrives_before_its_permit_is_given() -> None:
    with LocalWorker(definitions_of(len)) as worker:
        worker.ready()
        ticket = worker.hand("job", pickle.dumps(bytes(30_000_000)))  # blocks if nobody reads
        worker.permit(ticket)
        assert_value(worker.hear(), 30_000_000)


def test_what_was_sent_before_the_worker_was_ready_is_not_forgotten() -> None:
    with LocalWorker() as worker:
        worker.define(definitions_of(jobs.echo))
        worker.permit(worker.hand("job", pickle.dumps("early")))
        worker.ready()
        assert_value(worker.hear(), "early")


def test_after_a_failure_the_rest_of_the_type_is_handed_back_until_word_comes() -> None:
    processors = {name: Processor(jobs.divide, Style.ITEM) for name in ("bad", "good")}
    with LocalWorker(dump_definitions(processors=processors)) as worker:
        worker.ready()
        zero, one = pickle.dumps(0), pickle.dumps(1)
        first = worker.hand("bad", zero)
        behind = worker.hand("bad", one)
        other = worker.hand("good", one)
        worker.permit(first)
        assert worker.hear().outcome is AttemptOutcome.ERROR
        # Sent before the supervisor heard of the failure, read after it.
        unread = worker.hand("bad", one)
        worker.permit(behind, other, unread)
        assert worker.hear() == [behind]
        assert worker.hear().ticket == other
        assert worker.hear() == [unread]

        still_there = worker.hand("bad", one)
        worker.resume("bad")
        fresh = worker.hand("bad", one)
        worker.permit(still_there, fresh)
        assert worker.hear() == [still_there]
        ended = worker.hear()
        assert (ended.ticket, ended.outcome) == (fresh, AttemptOutcome.SUCCESS)


def test_what_goes_back_after_a_failure_goes_in_one_frame() -> None:
    with LocalWorker(definitions_of(jobs.divide)) as worker:
        worker.ready()
        tickets = [worker.hand("job", pickle.dumps(n)) for n in range(20)]
        worker.permit(*tickets)
        assert worker.hear().outcome is AttemptOutcome.ERROR
        assert worker.hear() == tickets[1:]


def test_after_a_failure_that_nobody_counts_the_rest_of_the_type_runs_on() -> None:
    with LocalWorker(definitions_of(jobs.divide)) as worker:
        worker.ready()
        tickets = [worker.hand("job", pickle.dumps(n), is_guarded=False) for n in (0, 1, 0, 2)]
        worker.permit(*tickets)
        outcomes = [worker.hear().outcome.value for _ in tickets]
        assert outcomes == ["error", "success", "error", "success"]


def test_word_that_comes_while_nothing_waits_lets_the_type_run() -> None:
    with LocalWorker(definitions_of(jobs.divide)) as worker:
        worker.ready()
        for _ in range(3):
            assert worker.run("job", 0).outcome is AttemptOutcome.ERROR
        assert worker.value("job", 1) == 1.0


# --- what a job can do to its worker ---


def test_worker_survives_a_job_that_patches_the_standard_library() -> None:
    processors = {
        "patch": Processor(jobs.monkeypatch, Style.ITEM),
        "divide": Processor(jobs.divide, Style.ITEM),
    }
    with LocalWorker(dump_definitions(processors=processors)) as worker:
        worker.ready()
        assert worker.value("patch", None) is None
        assert worker.value("divide", 2) == 0.5
        error = worker.run("divide", 0).error
        assert error is not None
        assert error.type_name == "ZeroDivisionError"
        assert error.pickled is not None


def test_forked_child_that_comes_back_from_the_job_answers_nothing() -> None:
    processors = {
        "fork": Processor(jobs.fork_and_both_return, Style.ITEM),
        "echo": Processor(jobs.echo, Style.ITEM),
    }
    with LocalWorker(dump_definitions(processors=processors)) as worker:
        worker.ready()
        pid = worker.value("fork", None)
        assert pid != 0
        wait_for(lambda: not is_alive(pid))
        assert worker.value("echo", 1) == 1


@pytest.mark.parametrize(
    "ends, code, said",
    [
        (("return", None), 0, ""),
        (("exit", 3), 3, ""),
        (("raise", "of the child"), 1, "ValueError: of the child\n"),
    ],
)
def test_forked_child_ends_like_a_script_when_it_comes_back(
    ends: tuple[str, object], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert_value(run_one(jobs.fork_and_tell_exit_code, ends), code)
    errors = capfd.readouterr().err
    assert errors.endswith(said) if said else not errors


def test_forked_child_cannot_speak_for_the_worker() -> None:
    assert_value(run_one(jobs.fork_a_child_that_speaks, None, style=Style.JOB), 7)


def assert_value(ended: AttemptEnded, value: object) -> None:
    assert ended.error is None, ended.error.traceback
    assert ended.result is not None
    assert pickle.loads(ended.result) == value


# --- the job object ---


def test_job_style_gets_the_job() -> None:
    with LocalWorker(definitions_of(jobs.describe, style=Style.JOB)) as worker:
        worker.ready()
        ticket = worker.hand("job", pickle.dumps({"a": 1}), attempt=3)
        worker.permit(ticket)
        assert_value(worker.hear(), (ticket + 1000, "job", {"a": 1}, 3, 1, 12.5, True))


def test_call_style_gets_arguments_and_current_job() -> None:
    assert_value(run_one(divmod, (7, 2), style=Style.CALL), (3, 1))
    assert_value(run_one(jobs.describe_current, "x"), ("x", "job"))


def test_job_logs_and_tells_its_progress() -> None:
    with LocalWorker(definitions_of(jobs.talk, style=Style.JOB)) as worker:
        worker.ready()
        worker.permit(worker.hand("job", pickle.dumps(None)))
        line = worker.hear()
        assert isinstance(line, LogLine)
        assert (line.ticket, line.level, line.text) == (1, 30, "hello \\udcff")
        assert worker.hear() == Progress(1, 1.0, 4.0)
        assert worker.hear() == Progress(1, 4.0, 4.0)
        assert_value(worker.hear(), "talked")


def answer(worker: LocalWorker, call: Any, body: bytes) -> None:
    assert isinstance(call, Call)
    worker.send(encode_answer(call.ticket, call.call_id, body))


def test_job_asks_its_supervisor_while_other_jobs_arrive() -> None:
    with LocalWorker(definitions_of(jobs.ask)) as worker:
        worker.ready()
        worker.permit(worker.hand("job", pickle.dumps(b"x")))
        first = worker.hear()
        assert first == Call(1, 1, "add", b"x")
        worker.permit(worker.hand("job", pickle.dumps(b"y")))
        answer(worker, first, b"1")
        second = worker.hear()
        assert second == Call(1, 2, "add", b"xx")
        answer(worker, second, b"2")
        assert_value(worker.hear(), b"12")
        for reply in (b"3", b"4"):
            answer(worker, worker.hear(), reply)
        assert_value(worker.hear(), b"34")


def test_threads_of_a_job_ask_at_once_and_are_answered_in_any_order() -> None:
    with LocalWorker(definitions_of(jobs.ask_from_threads)) as worker:
        worker.ready()
        worker.permit(worker.hand("job", pickle.dumps(8)))
        calls = [worker.hear() for _ in range(8)]
        for call in reversed(calls):
            answer(worker, call, b"re " + call.body)
        assert_value(worker.hear(), [b"re %d" % number for number in range(8)])


def test_left_over_thread_of_an_ended_job_says_nothing() -> None:
    processors = {
        "leave": Processor(jobs.leave_a_thread, Style.JOB),
        "wait": Processor(jobs.wait_for_left_over, Style.ITEM),
    }
    with LocalWorker(dump_definitions(processors=processors)) as worker:
        worker.ready()
        assert worker.value("leave", None) is None
        assert worker.value("wait", None) == ["spoke"]


# --- later definitions ---


def test_processors_can_be_defined_later() -> None:
    with LocalWorker() as worker:
        worker.ready()
        ended = worker.run("job", 2)
        assert ended.error is not None
        assert ended.error.type_name == "knock.errors.ProcessorNotFoundError"
        assert not ended.retryable
        worker.define(definitions_of(jobs.divide))
        assert worker.value("job", 2) == 0.5


def test_later_definitions_that_fail_are_named_where_they_are_missed() -> None:
    with LocalWorker(definitions_of(jobs.echo)) as worker:
        worker.ready()
        worker.define(definitions_of(json.dumps).replace(b"\x04json", b"\x04jsun"))
        assert worker.value("job", 1) == 1
        ended = worker.run("job", jobs.FailsToLoad())
        assert ended.error is not None
        assert not ended.retryable
        assert "cannot unpickle the data of job 1002: ZeroDivisionError" in ended.error.message
        assert "No module named 'jsun'" in ended.error.traceback
