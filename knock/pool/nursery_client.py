"""The supervisor's side of a nursery: starting it, ordering workers, hearing of their deaths."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knock.errors import WorkerBootError
from knock.pool.descriptor import Descriptor, keep_private
from knock.pool.nursery import MESSAGE_BYTES, interpreter_command, nursery_main
from knock.pool.settings import PoolSettings

# Each of these bounds the threads of one numeric library in a process that loads it later.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_LEAVE_SECONDS = 10.0


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
    """A worker process is gone, with what the kernel says of it. ``swept``: strays killed."""

    worker: int
    generation: int
    pid: int
    status: int
    peak_rss_bytes: int
    cpu_seconds: float
    swept: int


@dataclass(frozen=True, slots=True)
class NurseryFailed:
    """A preloaded module cannot be imported; ``detail`` is the traceback."""

    detail: str


Report = Spawned | NotSpawned | Died | NurseryFailed


class Nursery:
    """One nursery process. ``is_lost``: it is gone, and its workers with it."""

    def __init__(self, settings: PoolSettings) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = keep_private(mine)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if settings.start_method == "fork":
                self.pid = _fork(theirs)
            else:
                self._process = _execute(theirs, settings)
                self.pid = self._process.pid
        except OSError as exc:
            mine.close()
            raise WorkerBootError(f"cannot start the process that forks workers: {exc}") from exc
        finally:
            theirs.close()
        self.is_lost = False
        self._send(
            {
                "start_method": settings.start_method,
                "sys_path": settings.sys_path,
                "preload": settings.preload,
            }
        )
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor on which reports come; -1 when closed."""
        return self._socket.fileno()

    def spawn(self, worker: int, generation: int, fds: list[int]) -> None:
        """Order a worker process that owns these descriptors; a report answers."""
        self._send({"worker": worker, "generation": generation}, fds)

    def _send(self, message: Mapping[str, Any], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], fds or [])
        except OSError:
            self.is_lost = True

    def reports(self) -> list[Report]:
        """Return what has been reported since the last call."""
        reports: list[Report] = []
        while not self.is_lost:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, MESSAGE_BYTES, 1)
            except BlockingIOError:
                break
            except OSError:
                data, fds = b"", []
            if not data:
                self.is_lost = True
                break
            reports.append(_report(json.loads(data), fds))
        return reports

    def close(self) -> None:
        """Let it kill what is below it and leave; wait until it is gone."""
        self._socket.close()
        self.is_lost = True
        try:
            self._wait()
        except (subprocess.TimeoutExpired, TimeoutError):
            os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(_LEAVE_SECONDS)
            return
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            return


def _report(message: dict[str, Any], fds: list[int]) -> Report:
    match message.pop("op"):
        case "spawned":
            pidfd = Descriptor(fds[0]) if fds else None
            if pidfd is not None:
                os.set_inheritable(pidfd.fd, False)
                keep_private(pidfd)
            return Spawned(**message, pidfd=pidfd)
        case "not_spawned":
            return NotSpawned(**message)
        case "died":
            return Died(**message)
        case _:
            return NurseryFailed(**message)


def _execute(theirs: socket.socket, settings: PoolSettings) -> "subprocess.Popen[bytes]":
    fd = theirs.fileno()
    environment = dict(os.environ)
    if settings.thread_cap:
        for name in THREAD_VARIABLES:
            environment.setdefault(name, str(settings.thread_cap))
    code = f"from knock.pool.nursery import nursery_main; nursery_main({fd})"
    return subprocess.Popen(
        interpreter_command(code),
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=(fd,),
        start_new_session=True,
    )


def _fork(theirs: socket.socket) -> int:
    pid = os.fork()
    if pid == 0:
        nursery_main(theirs.detach())
    return pid
