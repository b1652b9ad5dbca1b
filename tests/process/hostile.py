"""Jobs that do to their worker what the catalogue says. Imported by the workers."""

import builtins
import ctypes
import json
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import knock
from knock.pool.job import DESK
from knock.protocol.attempt import Measured, encode_result
from knock.protocol.frame import encode_header
from knock.protocol.message import Kind
from tests.witness import Gate, Witness

FOREVER = 10**12
# Taken at import: some jobs put functions of their own in the place of these.
_open, _write, _close, _sleep = os.open, os.write, os.close, time.sleep
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


@dataclass(frozen=True)
class Scene:
    """The folder that the jobs of one row share."""

    folder: str

    @property
    def witness(self) -> Witness:
        return Witness(os.path.join(self.folder, "witness"))

    @property
    def executed(self) -> Witness:
        """Who ran code of a job's result."""
        return Witness(os.path.join(self.folder, "executed"))

    @property
    def children(self) -> Witness:
        """Pids of what a job has started."""
        return Witness(os.path.join(self.folder, "children"))

    @property
    def gate(self) -> Gate:
        return Gate(os.path.join(self.folder, "gate"))


# --- what runs beside -----------------------------------------------------------------------------


def act(job: knock.Job) -> Any:
    """Be the hostile job: call what came with it."""
    fn, scene, _ = job.data
    return fn(scene)


def neighbour(job: knock.Job) -> int:
    scene, number = job.data
    fd = _open(scene.witness.path, _FLAGS, 0o600)
    _write(fd, b"neighbour %d\n" % number)
    _close(fd)
    return number


def hold(job: knock.Job) -> None:
    """Keep the other worker busy until the hostile job is over."""
    scene = job.data
    scene.witness.note(f"holds {os.getpid()}")
    scene.gate.pass_through()


# --- deaths ---------------------------------------------------------------------------------------


def killed_by(number: int, _: Scene) -> None:
    os.kill(os.getpid(), number)
    signal.pause()  # a signal to oneself may come a moment later


def read_null(_: Scene) -> None:
    ctypes.string_at(0)


def leave(code: int, _: Scene) -> None:
    os._exit(code)


def sibling_killed(scene: Scene) -> str:
    [held] = [fact for fact in scene.witness.facts() if fact.startswith("holds")]
    os.kill(int(held.split()[1]), signal.SIGKILL)
    return "killed"


# --- hangs ----------------------------------------------------------------------------------------


def loop(_: Scene | None) -> NoReturn:
    while True:
        pass


def c_loop(_: Scene) -> int:
    return sum(range(FOREVER))


def c_sleep(_: Scene) -> None:
    ctypes.PyDLL(None).sleep(60)


def deaf(_: Scene) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    loop(None)


def stopped(_: Scene) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    loop(None)


# --- memory, descriptors, disk --------------------------------------------------------------------


def out_of_memory(_: Scene) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, before[1]))
    try:
        bytearray(8 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def out_of_descriptors(_: Scene) -> None:
    opened = []
    while True:
        opened.append(open("/dev/null"))  # noqa: SIM115 - kept open by the traceback


def disk_full(_: Scene) -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def closed_range(end: int, scene: Scene) -> None:
    """Close all descriptors and put a file of its own in the place of each."""
    os.closerange(3, end)
    file = os.open(os.path.join(scene.folder, "file"), os.O_RDWR | os.O_CREAT)
    for number in range(3, end):
        if number != file:
            os.dup2(file, number)


def closed_channel(_: Scene) -> None:
    os.close(channel())
    threading.Event().wait()


# --- lies -----------------------------------------------------------------------------------------


def channel() -> int:
    [found] = [
        int(entry)
        for entry in os.listdir("/proc/self/fd")
        if _link(entry).startswith("socket:") and int(entry) > 2
    ]
    return found


def _link(entry: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{entry}")
    except OSError:
        return ""


def garbage(_: Scene) -> None:
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2:
            try:
                os.write(fd, b"\xff\xfe garbage" * 100)
            except OSError:
                continue
    threading.Event().wait()


def result(ticket: int, value: object = "forged") -> bytes:
    measured = Measured(time.monotonic_ns(), 0, 0, 0, 0, True)
    return b"".join(encode_result(ticket, measured, pickle.dumps(value)))


def own_ticket() -> int:
    return DESK.link._ticket


def result_cut_at(size: int, _: Scene) -> None:
    frame = result(own_ticket())
    os.write(channel(), frame[:size])
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def header_and_sleep(length: int, _: Scene) -> None:
    os.write(channel(), encode_header(Kind.RESULT, length) + b"abc")
    threading.Event().wait()


def result_for_another(distance: int, _: Scene) -> None:
    os.write(channel(), result(own_ticket() + distance))
    threading.Event().wait()


def second_result(_: Scene) -> str:
    os.write(channel(), result(own_ticket(), "first"))
    return "second"


def result_and_loop(_: Scene) -> None:
    os.write(channel(), result(own_ticket(), "first"))
    loop(None)


# --- children -------------------------------------------------------------------------------------


def breed(steps: str, then: Callable[[Scene], object], scene: Scene) -> object:
    """Start a process that tells of itself: ``f`` forks, ``s`` leaves the session."""
    worker = os.getpid()
    for step in steps:
        if step == "s":
            os.setsid()
        elif os.fork():
            if os.getpid() == worker:
                scene.children.wait(1)
                return then(scene)
            os._exit(0)
    scene.children.note(os.getpid())
    time.sleep(1000)
    os._exit(0)


def heir(scene: Scene) -> None:
    """Hand the channel on to a process that would live on, and die."""
    fd = channel()
    scene.children.note(subprocess.Popen(["sleep", "1000"], pass_fds=[fd]).pid)
    killed_by(signal.SIGKILL, scene)


def fork_bomb(depth: int, scene: Scene) -> None:
    """Double ``depth`` times."""
    for _ in range(depth):
        os.fork()
    scene.children.note(os.getpid())
    while True:
        time.sleep(1000)


# --- what is left behind --------------------------------------------------------------------------


def flooded(size: int, _: Scene) -> str:
    """Write to both standard streams: no line end, and no text."""
    block = b"\xff" * (1 << 20)
    for fd in (1, 2):
        for _block in range(size >> 20):
            os.write(fd, block)
    return "flooded"


def read_input(_: Scene) -> str:
    return input()


def dirtied(scene: Scene) -> str:
    os.chdir(scene.folder)
    os.umask(0o077)
    os.environ["LEFT_BEHIND"] = "1"
    sys.path.insert(0, scene.folder)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    return "dirty"


def left_running(_: Scene) -> str:
    threading.Thread(target=_sleep, args=(1000,), daemon=True).start()
    timer = threading.Timer(1000, print)
    timer.daemon = True
    timer.start()
    return "left"


def patched(_: Scene) -> str:
    def broken(*args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("patched")

    for module, names in (
        (os, ("read", "write", "writev", "pread", "_exit", "fork")),
        (pickle, ("dumps", "loads")),
        (json, ("dumps", "loads")),
        (time, ("time", "monotonic", "monotonic_ns", "sleep")),
        (select, ("poll", "select")),
        (builtins, ("print", "sorted")),
    ):
        for name in names:
            setattr(module, name, broken)
    return "patched"


def took_the_terminal(_: Scene) -> str:
    for change in (
        lambda: os.setpgid(0, 0),
        os.setsid,
        lambda: os.tcsetpgrp(os.open("/dev/tty", os.O_RDWR), os.getpgrp()),
    ):
        try:
            change()
        except OSError:
            continue
    return "tried"


# --- initializers ---------------------------------------------------------------------------------


def fails_at_boot() -> NoReturn:
    print("printed at boot", file=sys.stderr)
    raise RuntimeError("the initializer says no")


def leaves_at_boot() -> NoReturn:
    os._exit(7)


def waits_at_boot(gate: Gate) -> None:
    gate.pass_through()
