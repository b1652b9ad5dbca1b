"""The supervisor's side of a nursery: starting it, ordering workers, hearing of their deaths."""

import json
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from knock.errors import WorkerBootError
from knock.pool.descriptor import Descriptor, keep_private, share
from knock.pool.interpreter import interpreter_command
from knock.pool.kin import child_ends
from knock.pool.nursery import nursery_main, receive_fds
from knock.pool.process import flush_standard_streams, forget_exit_handlers
from knock.pool.settings import PoolSettings
from knock.pool.surroundings import Surroundings

_ORDER_BUFFER_BYTES = 1 << 20
# How long it may take to kill what is below it and leave.
_LEAVE_SECONDS = 10.0
# Without any worker there is nothing to kill: it hangs in somebody's import.
_LEAVE_EMPTY_SECONDS = 1.0

# Run by the nursery's interpreter. What fails here is told like a module that cannot be preloaded.
_START = """
try:
    from knock.pool.nursery import nursery_main
except BaseException:
    import json, socket, traceback
    failed = {{"op": "failed", "detail": traceback.format_exc()[-16000:]}}
    socket.socket(fileno={fd}).send(json.dumps(failed).encode())
    raise SystemExit(1)
nursery_main({fd}, {dead_man})
"""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker process exists. ``pidfd`` is None where the system has none."""

    worker: int
    generation: int
    pid: int
    pidfd: Descriptor | None


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """No process could be made."""

    worker: int
    generation: int
    detail: str


@dataclass(frozen=True, slots=True)
class Died:
    """A worker process is gone, with what the kernel says of it, if anything.

    ``swept``: strays killed.
    """

    worker: int
    generation: int
    pid: int
    status: int | None
    peak_rss_bytes: int | None
    cpu_seconds: float | None
    swept: int


@dataclass(frozen=True, slots=True)
class NurseryFailed:
    """It cannot start workers, since a module cannot be imported; ``detail`` is the traceback."""

    detail: str


@dataclass(frozen=True, slots=True)
class Preloaded:
    """It has imported all modules, and starts workers from now on.

    ``unforkable``: the modules that left threads running, so that it does not fork workers.
    """

    unforkable: list[str]


Report = Spawned | NotSpawned | Died | NurseryFailed | Preloaded


@dataclass(frozen=True, slots=True)
class _Order:
    data: bytes
    fds: list[int]
    then: Callable[[], None]


class Nursery:
    """One nursery process.

    ``is_preloaded``: it has imported all modules. ``is_lost``: it is gone, and all that it told was
    read.
    """

    def __init__(self, settings: PoolSettings, surroundings: Surroundings) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ORDER_BUFFER_BYTES)
        self._socket = keep_private(mine)
        # Held by a process that another thread forks now it would hide the end of the nursery.
        keep_private(theirs)
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: deque[_Order] = deque()
        self.is_preloaded = False
        self.is_lost = False
        mine.send(_first_order(settings))
        mine.setblocking(False)
        try:
            self._start(settings, surroundings, theirs)
        except OSError as exc:
            mine.close()
            raise WorkerBootError(f"cannot start the process that forks workers: {exc}") from exc
        finally:
            theirs.close()

    def _start(
        self, settings: PoolSettings, surroundings: Surroundings, theirs: socket.socket
    ) -> None:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        dead_man = keep_private(Descriptor(read_fd))
        self._alive = keep_private(Descriptor(write_fd))
        try:
            if settings.start_method == "fork":
                self.pid = _fork(theirs, dead_man, surroundings)
            else:
                self._process = _execute(theirs, dead_man.fd, surroundings)
                self.pid = self._process.pid
        finally:
            dead_man.close()

    def fileno(self) -> int:
        """Return the descriptor on which reports come; -1 when closed."""
        return self._socket.fileno()

    # --- orders ---

    def spawn(self, worker: int, generation: int, fds: list[int], then: Callable[[], None]) -> None:
        """Order a worker process that owns these descriptors; a report answers.

        ``then`` is called when the descriptors need to be kept no longer.
        """
        data = json.dumps({"worker": worker, "generation": generation}).encode()
        self._orders.append(_Order(data, fds, then))
        self._flush()

    def _flush(self) -> None:
        while self._orders:
            order = self._orders[0]
            try:
                socket.send_fds(self._socket, [order.data], order.fds)
            except BlockingIOError:
                return  # each order that it takes out is answered by a report
            except OSError:
                return  # it is gone, which its end of the socket tells
            self._orders.popleft()
            order.then()

    # --- reports ---

    def reports(self) -> list[Report]:
        """Return what has been reported since the last call."""
        reports: list[Report] = []
        while not self.is_lost:
            try:
                data, fds = receive_fds(self._socket, 1)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # it left orders unread; told once, and before what it had sent
            except OSError:
                data, fds = b"", []
            if not data:
                self.is_lost = True
                break
            report = _report(json.loads(data), fds)
            self.is_preloaded = True
            reports.append(report)
        self._flush()
        return reports

    # --- the end ---

    def close(self) -> str:
        """Let it kill what is below it and leave; wait until it is gone, and say how it ended."""
        self._socket.close()
        self._alive.close()
        self._orders.clear()
        self.is_lost = True
        limit = _LEAVE_SECONDS if self.is_preloaded else _LEAVE_EMPTY_SECONDS
        if not child_ends(self.pid, limit):
            self.kill()
        return self._reap()

    def kill(self) -> None:
        """Kill it, which leaves what is below it to the caller; to be closed then."""
        # Not reaped yet, so its number is its own.
        for kill in (os.kill, os.killpg):
            try:
                kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue

    def _reap(self) -> str:
        if self._process is not None:
            code = self._process.wait()
        else:
            try:
                code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:
                return "ended unseen"
        return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"


def _first_order(settings: PoolSettings) -> bytes:
    order = {
        "start_method": settings.start_method,
        "sys_path": settings.sys_path,
        "preload": settings.preload,
    }
    return json.dumps(order).encode()


def _report(message: dict[str, Any], fds: list[int]) -> Report:
    match message.pop("op"):
        case "spawned":
            pidfd = keep_private(Descriptor(fds[0])) if fds else None
            return Spawned(**message, pidfd=pidfd)
        case "not_spawned":
            return NotSpawned(**message)
        case "died":
            return Died(**message)
        case "preloaded":
            return Preloaded(**message)
        case _:
            return NurseryFailed(**message)


def _execute(
    theirs: socket.socket, dead_man: int, surroundings: Surroundings
) -> "subprocess.Popen[bytes]":
    fd = theirs.fileno()
    return subprocess.Popen(
        interpreter_command(_START.format(fd=fd, dead_man=dead_man)),
        stdin=subprocess.DEVNULL,
        env=surroundings.environment,
        cwd=surroundings.directory,
        umask=surroundings.umask,
        pass_fds=(fd, dead_man),
        start_new_session=True,
    )


def _fork(theirs: socket.socket, dead_man: Descriptor, surroundings: Surroundings) -> int:
    # What waits in a buffer now would be written by each worker at its end, too.
    flush_standard_streams()
    share(theirs)
    share(dead_man)
    pid = os.fork()
    if pid == 0:
        nursery_main(theirs.detach(), dead_man.fd, lambda: _settle(surroundings))
    return pid


def _settle(surroundings: Surroundings) -> None:
    # First: the nursery collects garbage, and the caller's finalizers would run here, too.
    forget_exit_handlers()
    surroundings.apply()
