"""The memory of a process, looked at from outside; and the kernel's own kills."""

import os
import subprocess
import sys

import pytest

from knock.core.job import Death
from knock.pool.oom import OomWatch
from knock.pool.weight import weigh
from tests.process import jobs

pytestmark = [pytest.mark.process, pytest.mark.platform]

MIB = 1 << 20
V2 = "/sys/fs/cgroup/a/b/memory.events"
ROOT_V2 = "/sys/fs/cgroup/memory.events"
V1 = "/sys/fs/cgroup/memory/c/memory.oom_control"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_weighs_what_it_has_resident():
    code = "data = b'x' * (100 << 20); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert 100 * MIB < weigh(child.pid, 10 * MIB) < 150 * MIB
        assert weigh(os.getpid(), 1 << 40) > weigh(child.pid, 1 << 40)
        child.stdin.close()
    assert weigh(child.pid, 1) is None


class Files:
    """What ``OomWatch`` reads."""

    def __init__(self, group, **texts):
        self.texts = {"/proc/self/cgroup": group} | texts

    def __call__(self, path):
        if path not in self.texts:
            raise FileNotFoundError(path)
        return self.texts[path]


@pytest.mark.parametrize(
    "group, path",
    [("0::/a/b\n", V2), ("0::/a/b\n", ROOT_V2), ("0::/\n", ROOT_V2), ("7:cpu,memory:/c\n", V1)],
)
def test_each_kill_of_the_kernel_is_told_once(group, path):
    files = Files(group, **{path: "low 0\noom 3\noom_kill 4\noom_group_kill 9\n"})
    watch = OomWatch(files)
    assert not watch.take()
    files.texts[path] = "low 0\noom_kill 6\n"
    assert [watch.take() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("group", ["0::/a/b\n", "7:cpu:/c\n", "", "nonsense"])
def test_where_the_kernel_does_not_tell_nothing_is_known(group):
    watch = OomWatch(Files(group))
    assert not watch.take()


@pytest.mark.parametrize("is_told", [True, False])
def test_a_kill_that_the_kernel_counts_is_one_for_want_of_memory(make_drive, is_told):
    drive = make_drive().start()
    files = Files("0::/\n", **{ROOT_V2: "oom_kill 0\n"})
    drive.pool._oom_watch = OomWatch(files)
    files.texts[ROOT_V2] = f"oom_kill {int(is_told)}\n"
    drive.send((jobs.kill_oneself,))
    death = drive.exit().death
    assert isinstance(death, Death)
    assert death.out_of_memory is is_told
    expected = "killed by SIGKILL: the kernel was out of memory"
    unknown = "killed by SIGKILL, not by knock; possibly out of memory"
    assert death.cause == (expected if is_told else unknown)


def test_a_kill_that_knock_ordered_is_none(make_drive, witness):
    drive = make_drive().start()
    files = Files("0::/\n", **{ROOT_V2: "oom_kill 0\n"})
    drive.pool._oom_watch = OomWatch(files)
    files.texts[ROOT_V2] = "oom_kill 1\n"
    [ticket] = drive.send((jobs.spin, witness))
    witness.wait(1)
    drive.kill(ticket)
    assert not drive.exit().death.out_of_memory
