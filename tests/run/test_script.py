"""Scripts without a main guard, run in each way that Python knows."""

import pytest

from tests.witness import Script, script

pytestmark = pytest.mark.process

SQUARES = """
from knock import run_pool
results = run_pool(lambda x: x * x, range(1000), progress=False).results
print(results == [x * x for x in range(1000)])
"""

WAYS = ["file", "stdin", "-c", "-m", "IPython"]


def start(way, code, tmp_path):
    path = tmp_path / "the_script.py"
    path.write_text(code)
    match way:
        case "file":
            return script(str(path))
        case "stdin":
            return script("-")
        case "-c":
            return script("-c", code)
        case "-m":
            return script("-m", "the_script", cwd=str(tmp_path))
        case _:
            pytest.importorskip("IPython")
            options = (
                "--no-banner",
                "--colors=NoColor",
                "--quick",
                "--HistoryManager.enabled=False",
            )
            return script("-m", "IPython", *options, "-c", code)


def run(way, code, tmp_path):
    """Run it to its end; return what it printed."""
    with start(way, code, tmp_path) as running:
        if way == "stdin":
            running.process.stdin.write(code)
        exit_code, out, errors = running.end()
        assert exit_code == 0, errors
        assert not running.descendants()
    return out.splitlines()


@pytest.mark.parametrize("way", WAYS)
def test_squares(way, tmp_path):
    assert run(way, SQUARES, tmp_path)[-1] == "True"


TYPES = """
import dataclasses, enum
from knock import run_pool, iter_pool
@dataclasses.dataclass
class Point:
    x: int
class Color(enum.Enum):
    RED = 1
class WrongError(Exception):
    def __init__(self, point):
        super().__init__(point)
        self.point = point
def work(item):
    point, color = item
    assert isinstance(point, Point) and color is Color.RED
    if point.x < 0:
        raise WrongError(point)
    return Point(point.x + 1), color
report = run_pool(work, [(Point(1), Color.RED), (Point(-1), Color.RED)], progress=False, workers=2)
good, bad = report.outcomes
assert good.value == (Point(2), Color.RED) and type(good.value[0]) is Point
assert good.value[1] is Color.RED
try:
    bad.value
except WrongError as exc:
    assert exc.point == Point(-1)
    print("caught")
"""


@pytest.mark.parametrize("way", WAYS)
def test_types_of_main_keep_their_identity(way, tmp_path):
    assert run(way, TYPES, tmp_path)[-1] == "caught"


GLOBALS = """
from knock import run_pool
model = None
def initialize(value):
    global model
    model = {"value": value}
def use(x):
    return model["value"] + x
print(run_pool(use, [1, 2], initializer=initialize, initargs=(40,), progress=False).results)
print(model)
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_global_set_by_the_initializer_is_seen_by_the_jobs(way, tmp_path):
    assert run(way, GLOBALS, tmp_path)[-2:] == ["[41, 42]", "None"]


RESUMED = """
from knock import InMemoryStorage, run_pool
def square(n):
    return n * n
options = dict(storage=InMemoryStorage(), key=str, progress=False, workers=1)
run_pool(square, range(3), **options)
outcomes = run_pool(square, range(4), **options).outcomes
print([o.value for o in outcomes], [o.job_id for o in outcomes])
"""


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_function_of_the_script_finds_its_results_again(way, tmp_path):
    # The last job's id is by its index, the others' are those of the first batch.
    assert run(way, RESUMED, tmp_path) == ["[0, 1, 4, 9] [1, 2, 3, 7]"]


def test_a_script_runs_its_own_top_level_once(tmp_path):
    code = 'print("top level", flush=True)\n' + SQUARES
    assert run("file", code, tmp_path) == ["top level", "True"]


def test_what_jobs_print_comes_out(tmp_path):
    code = """
from knock import run_pool
run_pool(print, ["one", "two"], progress=False, workers=1)
"""
    assert run("file", code, tmp_path) == ["one", "two"]


def test_progress_goes_to_standard_error_in_lines_only(tmp_path):
    code = "from knock import run_pool\nrun_pool(abs, range(10), workers=1)\n"
    with start("file", code, tmp_path) as running:
        assert isinstance(running, Script)
        exit_code, out, errors = running.end()
    assert (exit_code, out, errors) == (0, "", "")


def test_python_has_nothing_to_warn_of(tmp_path):
    code = """
import os
from knock import QueueInstance, run_pool
run_pool(lambda x: os._exit(1) if x == 1 else x, range(3), workers=2, progress=False)
with QueueInstance(concurrency=1) as queue:
    queue.process("square", lambda job: job.data ** 2)
    print(queue.result(queue.add("square", 3)))
"""
    path = tmp_path / "the_script.py"
    path.write_text(code)
    with script("-X", "dev", "-W", "error", str(path)) as running:
        exit_code, out, errors = running.end()
    # The warning of the one job that died, by knock's own logger.
    assert (exit_code, out) == (0, "9\n")
    assert len(errors.splitlines()) == 1, errors
