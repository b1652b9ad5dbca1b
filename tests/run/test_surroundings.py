"""A batch in odd places: without what a desk has, but many a container lacks."""

import functools
import os
import subprocess
import sys

import pytest

from tests.witness import ROOT

pytestmark = pytest.mark.process

# Also told by the exit code: there may be no standard output.
BATCH = """
import os, sys
import knock
def square(number):
    return number * number
report = knock.run_pool(square, range(5), workers=2, progress=False, supervisor=sys.argv[1])
assert report.results == [0, 1, 4, 9, 16], report.results
print("squares")
sys.stdout.flush()
os._exit(42)
"""
IN_MOUNTS = ["unshare", "--mount", "sh", "-ec"]
PLACES = {
    "pid 1": ["unshare", "--pid", "--fork", "--mount-proc"],
    "no proc": [*IN_MOUNTS, 'mount -t tmpfs none /proc; exec "$@"', "sh"],
    "small shm": [*IN_MOUNTS, 'mount -t tmpfs -o size=64m none /dev/shm; exec "$@"', "sh"],
    "read-only": [*IN_MOUNTS, 'mount -o bind,remount,ro /; exec "$@"', "sh"],
    "no passwd entry": ["unshare", "--user", "--map-user=54321"],
}
ENVIRONMENTS = {
    "no home": {"HOME": None, "USER": None, "LOGNAME": None},
    "LANG=C": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": None, "PYTHONIOENCODING": None},
    "odd TZ": {"TZ": "<+1345>-13:45"},
    "no such TMPDIR": {"TMPDIR": "/proc/nowhere"},
    "next to nothing": None,
}


@pytest.fixture(params=["thread", "process"])
def place(request):
    return request.param


def run(prefix, place, environment=None, code=BATCH):
    if environment is None:
        environment = dict(os.environ)
    return subprocess.run(
        [*prefix, sys.executable, "-c", code, place],
        check=False,
        env={**environment, "PYTHONPATH": ROOT},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
    )


@functools.cache
def why_not(prefix):
    try:
        tried = subprocess.run([*prefix, "true"], check=False, capture_output=True, text=True)
    except FileNotFoundError as exc:
        return str(exc)
    return tried.stderr if tried.returncode else ""


@pytest.mark.parametrize("where", PLACES)
def test_a_batch_runs_in_an_odd_place(where, place):
    reason = why_not(tuple(PLACES[where]))
    if reason:
        pytest.skip(f"needs the right to unshare: {reason}")
    done = run(PLACES[where], place)
    assert (done.returncode, done.stdout, done.stderr) == (42, "squares\n", "")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_batch_runs_whatever_the_environment(environment, place):
    changes = ENVIRONMENTS[environment]
    variables = {} if changes is None else {**os.environ, **changes}
    variables = {name: value for name, value in variables.items() if value is not None}
    done = run([], place, variables)
    assert (done.returncode, done.stdout, done.stderr) == (42, "squares\n", "")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_a_batch_runs_without_standard_streams(closed, place):
    code = BATCH.replace('print("squares")\nsys.stdout.flush()\n', "")
    done = run(["sh", "-c", f'exec "$@" {closed}', "sh"], place, code=code)
    assert (done.returncode, done.stdout, done.stderr) == (42, "", "")


def test_a_temporary_directory_that_takes_nothing_is_named_where_one_is_needed(place):
    # Without memfds, as on other systems.
    variables = {**os.environ, "TMPDIR": "/proc/nowhere", "KNOCK_DISABLE": "memfd"}
    done = run([], place, variables)
    assert done.returncode == 1
    assert "WorkerBootError" in done.stderr
    assert "/proc/nowhere" in done.stderr
