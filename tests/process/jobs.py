"""What workers are made to do. One processor calls whatever its item says."""

import ast
import atexit
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from multiprocessing.util import Finalize
from typing import Any, NoReturn

from knock.pool.job import DESK
from knock.pool.mechanism import MECHANISMS, has
from knock.protocol.attempt import Measured, encode_result
from tests.witness import Gate, Witness


def do(item: tuple[Any, ...]) -> Any:
    fn, *args = item
    return fn(*args)


def square(x: int) -> int:
    return x * x


def pid() -> int:
    return os.getpid()


def pid_later(_: object) -> int:
    time.sleep(0.02)
    return os.getpid()


def note(witness: Witness, fact: object) -> object:
    witness.note(fact)
    return fact


def wait(witness: Witness, gate: Gate, fact: object = "waits") -> object:
    witness.note(fact)
    gate.pass_through()
    return fact


def note_and_take_time(witness: Witness, seconds: float) -> None:
    witness.note("took time")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def take_time(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def refuse(message: str = "no") -> None:
    raise ValueError(message)


# --- ends ---


def kill_oneself(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
    signal.pause()  # a signal to oneself may come a moment later


def read_null() -> None:
    ctypes.string_at(0)


def abort() -> NoReturn:
    os.abort()


def leave(code: int = 0) -> None:
    os._exit(code)


def spin(witness: Witness | None = None) -> int:
    """Hold the GIL in C for longer than anybody waits."""
    if witness is not None:
        witness.note(os.getpid())
    return sum(range(10**12))


def note_and_spin(witness: Witness, fact: object) -> int:
    witness.note(f"{os.getpid()} {fact}")
    return spin()


def note_at_exit(witness: Witness) -> None:
    """Let everything that runs at the end of this process note that it does."""
    holder = threading.Thread()  # anything that can be referred to weakly
    _STATE["holder"] = holder
    atexit.register(witness.note, f"atexit {os.getpid()}")
    weakref.finalize(holder, witness.note, f"finalize {os.getpid()}")
    Finalize(None, witness.note, (f"multiprocessing {os.getpid()}",), exitpriority=1)
    _STATE["log"] = _NotesWhenFlushed(witness, f"logging {os.getpid()}")


class _NotesWhenFlushed(logging.Handler):
    def __init__(self, witness: Witness, fact: str) -> None:
        super().__init__()
        self.witness, self.fact = witness, fact

    def flush(self) -> None:
        self.witness.note(self.fact)


# --- children of jobs ---


def breed(witness: Witness) -> None:
    """Leave children behind: in the session, out of it, and one whose parent is gone too."""
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    witness.note(subprocess.Popen(sleep).pid)
    witness.note(subprocess.Popen(sleep, start_new_session=True).pid)
    child = os.fork()
    if not child:
        os.setsid()
        grandchild = os.fork()
        if grandchild:
            witness.note(grandchild)
            os._exit(0)
        time.sleep(1000)
        os._exit(0)
    os.waitpid(child, 0)


def breed_and_spin(witness: Witness) -> None:
    breed(witness)
    spin(witness)


def breed_here_and_spin(witness: Witness) -> None:
    """As above, with one child, which stays in the session."""
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    witness.note(subprocess.Popen(sleep).pid)
    spin(witness)


def mechanisms_here() -> tuple[list[str], int, int]:
    """Return what is masked, whether orphans fall to this process, and its parent-death signal."""
    facts = []
    for option in (37, 2):  # PR_GET_CHILD_SUBREAPER, PR_GET_PDEATHSIG
        number = ctypes.c_int(-1)
        ctypes.CDLL(None).prctl(option, ctypes.byref(number), 0, 0, 0)
        facts.append(number.value)
    return [name for name in MECHANISMS if not has(name)], *facts


def breed_and_die(witness: Witness) -> None:
    breed(witness)
    kill_oneself()


def wait_with_orphan(witness: Witness, gate: Gate) -> None:
    """Work with a helper whose parent is gone, but that has stayed in the session."""
    child = os.fork()
    if not child:
        grandchild = os.fork()
        if grandchild:
            witness.note(grandchild)
            os._exit(0)
        time.sleep(1000)
        os._exit(0)
    os.waitpid(child, 0)
    gate.pass_through()


def children_of_oneself() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()


# --- lies ---


def _fds(kind: str) -> list[int]:
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            if kind in os.readlink(f"/proc/self/fd/{entry}"):
                found.append(int(entry))
        except OSError:
            continue
    return found


def open_things() -> set[str]:
    """The sockets, pipes and shared pages that this process holds, standard streams left out."""
    names = set()
    standard = {_identity(fd) for fd in range(3)}
    for fd in (fd for kind in ("socket:", "pipe:", "knock-") for fd in _fds(kind)):
        if _identity(fd) not in standard:
            names.add(f"{os.readlink(f'/proc/self/fd/{fd}')} {_identity(fd)}")
    return names


def _identity(fd: int) -> str:
    status = os.fstat(fd)
    return f"{status.st_dev} {status.st_ino}"


def open_things_of_a_program() -> set[str]:
    """What a program sees that is executed with every descriptor that lets itself be inherited."""
    code = "from tests.process.jobs import open_things; print(repr(open_things()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        close_fds=False,
    ).stdout
    return set(ast.literal_eval(output.decode())) if output.strip() != b"set()" else set()


def forge(ticket: int, witness: Witness) -> None:
    """Answer for a job that this worker does not hold, then hang."""
    measured = Measured(time.monotonic_ns(), 0, 0, 0, 0, True)
    (channel,) = _fds("socket:")
    for buffer in encode_result(ticket, measured, b"N."):
        os.write(channel, buffer)
    witness.note("written")
    threading.Event().wait()


def wear(*reasons: str) -> int:
    """Ask for another worker, once for each reason; return the pid of this one."""
    for reason in reasons or ("left threads",):
        DESK.link.worn(reason)
    return os.getpid()


def come_back_twice() -> str:
    """Return in a forked child too, as a job that forgets to leave it does."""
    child = os.fork()
    if not child:
        return "the child"
    os.waitpid(child, 0)
    return "the parent"


def write_ledger(data: bytes) -> str:
    ledger, *_ = _fds("knock-ledger")
    os.pwrite(ledger, data, 0)
    return "written"


def shrink_ledger() -> str:
    ledger, *_ = _fds("knock-ledger")
    try:
        os.ftruncate(ledger, 0)
    except OSError as exc:
        return f"refused: {exc}"
    return "shrunk"


def flood_log(lines: int) -> None:
    job = DESK.job()
    assert job is not None
    for number in range(lines):
        job.log(f"line {number}")


def log_for_ever(witness: Witness) -> None:
    job = DESK.job()
    assert job is not None
    witness.note("logs")
    while True:
        job.log("and on it goes " * 50)


def close_output() -> str:
    """Close every descriptor of what 1 and 2 lead to."""
    targets = {os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)}
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") in targets:
                os.close(int(name))
        except FileNotFoundError:
            continue
    return "closed"


# --- what a worker finds around it ---


def surroundings(names: tuple[str, ...]) -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "path": list(sys.path),
        "argv": list(sys.argv),
        "main": sys.modules["__main__"].__dict__.get("__file__"),
        **{name: os.environ.get(name) for name in names},
    }


def import_value(module: str) -> Any:
    return __import__(module).VALUE


def is_directory(path: str) -> bool:
    return os.path.isdir(path)


def long_answer(size: int) -> bytes:
    return b"x" * size


def length(data: bytes) -> int:
    return len(data)


# --- initializers ---

_STATE: dict[str, Any] = {}


def initialize(value: Any, witness: Witness) -> None:
    witness.note(os.getpid())
    _STATE["value"] = value


def initialized() -> Any:
    return _STATE["value"]


def fail_to_initialize() -> None:
    raise RuntimeError("the initializer says no")


def hang_at_boot(witness: Witness) -> None:
    print("about to hang", file=sys.stderr, flush=True)
    witness.note(os.getpid())
    threading.Event().wait()


def boot_through_a_gate(witness: Witness, gate: Gate) -> None:
    witness.note(os.getpid())
    gate.pass_through()


def leave_at_boot() -> None:
    print("last words", file=sys.stderr, flush=True)
    os._exit(7)
