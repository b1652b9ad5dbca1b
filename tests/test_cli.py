"""The command line, and the demo that it shows."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import knock
from knock.cli import demo_work
from knock.cli.app import cli
from knock.cli.demo import run_demo
from knock.cli.demo_plan import FAULTS, make_plan
from knock.cli.demo_result import DemoResult, run_serial
from knock.cli.demo_text import result_text
from knock.core.job import JobState
from tests.witness import script

SECONDS = 90.0
CODE = '"""Three words."""\n\nclass A:\n    def f(self): ...\n\nasync def g(): ...\n'


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.output


# --- the command ----------------------------------------------------------------------------------


def test_command_alone_prints_its_help():
    code, output = invoke()
    assert (code, output) == invoke("--help")
    assert code == 0
    assert [name for name in cli.commands if name not in output] == []


def test_every_command_and_option_says_what_it_does():
    for command in cli.commands.values():
        assert command.help
        assert all(option.help for option in command.params)


def test_version_is_that_of_the_package():
    assert invoke("--version") == (0, f"knock, version {knock.__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["demo", "--workers", "0"], ["demo", "--seed", "x"], ["--nonsense"]]
)
def test_wrong_use_exits_with_two_and_says_why(arguments):
    code, output = invoke(*arguments)
    assert code == 2
    assert "Error: " in output


def test_package_of_the_command_loads_nothing_heavy():
    # Workers of the demo import it.
    code = "import sys, knock.cli.demo_fault; print({'click', 'rich', 'psutil'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# --- the work -------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path) -> list[str]:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(CODE)
    bad.write_text("def f(:\n")
    return [str(bad), str(good)]


def test_measures_are_lines_functions_and_classes(tree):
    assert demo_work.measure(tree[1]) == (6, 2, 1)


def test_module_that_cannot_be_parsed_has_lines_only(tree):
    assert demo_work.measure(tree[0]) == (1, 0, 0)


def test_serial_program_adds_up_and_does_not_import_knock(tree):
    serial = run_serial(tree)
    assert not serial.has_knock
    assert serial.totals == demo_work.work_through(tree)
    assert serial.totals["modules"] == 2
    assert serial.totals["lines"] == 7
    assert serial.totals["words"] == len(CODE.split()) + 2


def test_seed_gives_the_order():
    plan = make_plan(seed=1)
    assert plan == make_plan(seed=1)
    assert plan.order != make_plan(seed=2).order
    assert sorted(plan.order) == list(range(len(plan.paths)))
    assert str(Path(json.__file__)) in plan.paths


def test_limit_draws_some_of_the_modules():
    plan, whole = make_plan(seed=1, limit=10), make_plan(seed=1)
    assert len(plan.paths) == len(plan.order) == 10
    assert set(plan.paths) < set(whole.paths)
    assert plan.paths != make_plan(seed=2, limit=10).paths
    assert make_plan(seed=1, limit=10**6).paths == whole.paths


# --- the demo -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result() -> DemoResult:
    return run_demo(workers=2, seed=3, limit=200)


@pytest.mark.process
@pytest.mark.slow
def test_demo_goes_as_planned(result):
    assert result.ok
    assert result.report.exit_code == 1
    assert result.totals == result.serial.totals
    assert len(result.run.dead_letters) == 3


@pytest.mark.process
@pytest.mark.slow
def test_demo_tells_of_each_fault_what_became_of_it(result):
    told = json.loads(json.dumps(result.to_dict()))
    faults = {fault["job_type"]: fault for fault in told["faults"]}
    seen = {
        name: (
            fault["state"],
            fault["outcome"],
            fault["signal"],
            fault["exit_code"],
            len(fault["attempts"]),
        )
        for name, fault in faults.items()
    }
    assert seen == {
        "flaky": ("completed", "success", None, None, 3),
        "hang": ("dead", "timeout", signal.SIGKILL, None, 2),
        "segfault": ("dead", "crash", signal.SIGSEGV, None, 2),
        "exit": ("dead", "crash", None, 0, 2),
    }
    assert len({fault["job_id"] for fault in faults.values()}) == 4
    assert {letter["job_type"] for letter in told["dead_letters"]} == {"hang", "segfault", "exit"}
    assert {letter["reason"] for letter in told["dead_letters"]} == {"retries_exhausted", "poison"}


@pytest.mark.process
@pytest.mark.slow
def test_demo_tells_how_the_breaker_opened_and_recovered(result):
    breaker = result.to_dict()["breaker"]
    states = [change["state"] for change in breaker["changes"]]
    assert states[:2] == ["open", "half_open"]
    assert states[-2:] == ["half_open", "closed"]
    # Nothing was burnt while it was open: five failures, and one per probe that failed.
    assert breaker["failed_attempts"] == 4 + states.count("open")
    assert breaker["completed"] == breaker["jobs"] == result.serial.totals["modules"]


@pytest.mark.process
@pytest.mark.slow
def test_demo_as_text_has_all_of_it_in_a_hundred_columns(result):
    text = result_text(result)
    assert max(map(len, text.splitlines())) <= 100
    for part in (
        "dead letters",
        "planted faults",
        "breaker of words: open",
        "all totals are equal",
    ):
        assert part in text
    assert text.count("as planned") == len(FAULTS) + 2
    assert "NOT" not in text


@pytest.mark.process
@pytest.mark.slow
def test_demo_says_what_did_not_go_as_planned(result):
    flaky = result.faults[0]
    other = DemoResult(result.plan, result.run, replace(result.serial, totals={"modules": 1}))
    other.faults[0] = replace(flaky, fault=replace(flaky.fault, state=JobState.DEAD))
    other.breaker = replace(other.breaker, failed_attempts=4)
    text = result_text(other)
    assert not other.ok
    # The fault, the breaker, and so the accounts too.
    assert text.count("NOT AS PLANNED") == 3
    assert "THE TOTALS ARE NOT EQUAL" in text


@pytest.mark.process
@pytest.mark.slow
def test_json_on_standard_output_and_progress_on_standard_error():
    with script("-m", "knock", "demo", "--json", "--workers", "1", "--limit", "50") as run:
        code, out, err = run.end(SECONDS)
    told = json.loads(out)
    assert (code, told["ok"], told["workers"], told["seed"]) == (0, True, 1, 0)
    assert "working through" in err
    assert "Traceback" not in err


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("when", ["working through", "in series"])
def test_ctrl_c_leaves_one_line_and_no_process(when):
    with script("-m", "knock", "demo", "--limit", "500") as run:
        while when not in (line := run.process.stderr.readline()):
            assert line.startswith("knock: ")
        run.kill(signal.SIGINT)
        code, out, err = run.end(SECONDS)
        run.wait_descendants_gone(5.0)
    assert (code, out, err) == (130, "", "knock: interrupted\n")


@pytest.mark.process
@pytest.mark.slow
def test_reader_that_goes_away_is_no_error():
    with script("-m", "knock", "demo", "--limit", "50") as run:
        run.process.stdout.close()
        assert "Traceback" not in run.process.stderr.read()
        assert run.process.wait(SECONDS) == 1


@pytest.mark.process
@pytest.mark.slow
def test_output_into_head_ends_quietly():
    line = f"{sys.executable} -m knock demo --limit 5 2>&1 | head -n 1"
    with script("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])") as run:
        code, out, err = run.end(SECONDS)
        run.wait_descendants_gone(5.0)
    assert (code, err) == (0, "")
    assert out.startswith("knock: working through 5 modules")
    assert out.count("\n") == 1


@pytest.mark.process
@pytest.mark.slow
def test_demo_goes_as_planned_without_standard_streams():
    # A socket that got the number of a closed stream would have taken in what is written there.
    line = f"{sys.executable} -m knock demo --limit 5 <&- >&- 2>&-"
    with script("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])") as run:
        assert run.end(SECONDS) == (0, "", "")


@pytest.mark.process
@pytest.mark.slow
def test_every_job_is_accounted_for(result):
    told = result.to_dict()
    stats = told["stats"]
    planned = {fault["job_id"] for fault in told["faults"] if fault["state"] == "dead"}
    assert told["is_accounted_for"]
    assert {letter["job_id"] for letter in told["dead_letters"]} == planned
    assert (stats["dead"], stats["failed"]) == (3, 3)
    assert stats["completed"] == len(result.run.outcomes) - 3
    assert set(stats["breakers"].values()) == {"closed"}
    lost = replace(result.run, stats=replace(result.run.stats, completed=stats["completed"] - 1))
    assert not DemoResult(result.plan, lost, result.serial).ok


def test_full_disk_is_told_in_one_line():
    line = f"{sys.executable} -m knock --help > /dev/full"
    with script("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])") as run:
        assert run.end(SECONDS) == (74, "", "knock: cannot write: No space left on device\n")


def test_full_disk_under_both_streams_is_told_by_the_exit_code():
    line = f"{sys.executable} -m knock --help > /dev/full 2>&1"
    with script("-c", f"import os; os.execvp('sh', ['sh', '-c', {line!r}])") as run:
        assert run.end(SECONDS) == (74, "", "")


def test_ctrl_c_while_the_command_is_loaded_leaves_no_traceback():
    code = """
import sys
class Pressed:
    def find_spec(self, name, *_):
        if name == "knock.cli.demo":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
from knock.cli.main import main
main()
"""
    with script("-c", code) as run:
        assert run.end(SECONDS) == (130, "", "")
