"""What jobs write to standard output and error, kept with their attempts."""

import pytest

from knock import run_pool
from knock.core.job import NO_OUTPUT, AttemptOutcome
from knock.errors import ConfigError
from tests.run import printjobs

pytestmark = pytest.mark.process

CAPTURED = {"progress": False, "workers": 2, "capture_output": True}
TAIL = 1 << 16


@pytest.fixture(params=["thread", "process"])
def captured(request):
    """The supervisor in each place."""
    return {**CAPTURED, "supervisor": request.param}


def outputs(report):
    return [tuple(outcome.attempts[-1].output) for outcome in report.outcomes]


@pytest.mark.parametrize("start_method", ["forkserver", "spawn", "fork"])
def test_each_attempt_has_its_own_output_and_the_terminal_has_none(captured, start_method, capfd):
    # A forked worker has the sys.stdout of the test runner, which is not on descriptor 1.
    job = printjobs.write_both if start_method == "fork" else printjobs.print_both
    report = run_pool(job, range(200), **captured, start_method=start_method)
    assert outputs(report) == [(f"out {n}\n", f"err {n}\n") for n in range(200)]
    assert report.outcomes[3].attempts[0].stdout == "out 3\n"
    assert report.outcomes[3].attempts[0].stderr == "err 3\n"
    said = capfd.readouterr()
    assert "out " not in said.out
    assert "err " not in said.err


def test_nothing_is_captured_unasked(capfd):
    report = run_pool(printjobs.print_both, [1], workers=1, progress=False)
    assert report.outcomes[0].attempts[0].output == NO_OUTPUT
    assert "out 1\n" in capfd.readouterr().out


def test_what_waits_in_a_buffer_belongs_to_its_attempt():
    report = run_pool(printjobs.print_unended, [1, 2, 3], **{**CAPTURED, "workers": 1})
    assert outputs(report) == [("1", ""), ("2", ""), ("3", "")]


def test_what_children_and_c_code_write_is_captured():
    report = run_pool(printjobs.print_in_a_child, ["x"], **CAPTURED)
    assert outputs(report) == [("raw\nchild x\n", "")]


@pytest.mark.parametrize(
    "how, outcome",
    [
        ("raise", AttemptOutcome.ERROR),
        ("exit", AttemptOutcome.CRASH),
        ("kill", AttemptOutcome.CRASH),
        ("hang", AttemptOutcome.TIMEOUT),
    ],
)
def test_the_output_of_a_failed_attempt_is_there(captured, how, outcome):
    report = run_pool(
        printjobs.print_and_end, [how], **captured, timeout=1.0 if how == "hang" else 60.0
    )
    [attempt] = report.outcomes[0].attempts
    assert attempt.outcome is outcome
    assert attempt.stdout == f"before {how}\n"
    assert attempt.stderr == f"cannot {how}\n"
    assert f"      | cannot {how}\n" in str(report)


def test_a_stream_that_exits_when_it_is_flushed_ends_no_worker():
    report = run_pool(printjobs.replace_streams, range(3), **{**CAPTURED, "workers": 1})
    assert report.results == [0, 1, 2]
    assert outputs(report) == [("here\n", "")] * 3


def test_jobs_before_a_crash_keep_theirs():
    options = {**CAPTURED, "workers": 1}
    report = run_pool(printjobs.print_both, [*range(50), -1], **options)
    assert outputs(report) == [(f"out {n}\n", f"err {n}\n") for n in [*range(50), -1]]
    assert report.outcomes[-1].attempts[-1].outcome is AttemptOutcome.CRASH


def test_a_flood_is_bounded_and_its_end_is_kept(captured):
    flooded, after = run_pool(printjobs.flood, [64 << 20, 0], **{**captured, "workers": 1}).outcomes
    assert flooded.ok
    stdout = flooded.attempts[0].stdout
    assert len(stdout) == TAIL
    assert stdout == "\N{REPLACEMENT CHARACTER}" * (TAIL - 4) + "end\n"
    assert after.attempts[0].stdout == "end\n"


@pytest.mark.parametrize("start_new_session", [False, True])
def test_a_child_that_writes_on_and_on_holds_nobody_up(captured, start_new_session):
    items = [(start_new_session, how) for how in ("return", "return", "exit", "return")]
    report = run_pool(printjobs.leave_a_flooding_child, items, **{**captured, "workers": 1})
    assert [outcome.ok for outcome in report.outcomes] == [True, True, False, True]


def test_a_job_that_redirects_its_output_spoils_no_other(tmp_path):
    path = str(tmp_path / "out")
    options = {**CAPTURED, "workers": 1}
    report = run_pool(printjobs.redirect, [path, "", path, ""], **options)
    assert [attempt[0] for attempt in outputs(report)] == ["", "here\n", "", "here\n"]


def test_what_an_initializer_prints_is_of_no_job(capfd):
    report = run_pool(printjobs.print_both, [1], initializer=printjobs.set_up, **CAPTURED)
    assert outputs(report) == [("out 1\n", "err 1\n")]
    assert "setting up" in capfd.readouterr().out


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_anything_but_a_truth_value_is_refused(value):
    with pytest.raises(ConfigError, match="capture_output must be True or False"):
        run_pool(printjobs.print_both, [1], capture_output=value)
