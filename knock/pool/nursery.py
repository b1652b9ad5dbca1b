"""The nursery: a small single-threaded process that forks the workers and waits for them.

Rule 1: it shares no state with the caller but what it was given at its start, and runs no code of
        the caller but the modules that are preloaded.
Rule 2: it is a child subreaper and waits with ``wait4``: every death comes with its exact status
        and its use of resources, and descendants that left their session fall back to it.
Rule 3: when the supervisor vanishes (end of file on the socket), it kills everything below it,
        then leaves.
Rule 4: between a fork and ``worker_main`` nothing is done that can fail.
"""

import array
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from knock.pool.interpreter import interpreter_command
from knock.pool.kin import (
    children,
    ended_child,
    kill,
    kill_group,
    open_pidfd,
    reap_all,
    session_of,
)
from knock.pool.link import leave
from knock.pool.preloading import import_watched
from knock.pool.process import (
    adopt_orphans,
    arm,
    disarm,
    flush_standard_streams,
    forget_exit_handlers,
)
from knock.pool.worker import WorkerFds, worker_main

MESSAGE_BYTES = 1 << 17
# Room for it in a message even where each character takes six bytes.
_DETAIL_CHARACTERS = 1 << 14
# At most: the last two are for workers whose output is captured.
FDS_PER_WORKER = 7
_OOM_SCORE = 500
# A process in uninterruptible sleep may outlast any kill; nobody waits for it longer than this.
_SWEEP_TURNS = 200
_SWEEP_TURN_MS = 25


@dataclass(frozen=True, slots=True)
class _Worker:
    """A worker's process; ``pidfd`` is readable once it has ended, None where there is none."""

    slot: int
    generation: int
    pidfd: int | None


@dataclass(slots=True)
class _State:
    """What the nursery knows. ``workers`` are by pid; ``poll`` waits for all that can happen.

    ``culprits`` are the modules that left threads running; then workers are executed, and import
    what is in ``preload`` themselves.
    """

    peer: socket.socket
    start_method: str
    wake_fds: tuple[int, int]
    poll: select.poll = field(default_factory=select.poll)
    workers: dict[int, _Worker] = field(default_factory=dict)
    kept: frozenset[int] = frozenset()
    preload: list[str] = field(default_factory=list)
    culprits: list[str] = field(default_factory=list)


def nursery_main(fd: int, dead_man: int, settle: Callable[[], None] = lambda: None) -> NoReturn:
    """Be a nursery on this end of a SEQPACKET socket, after ``settle``; never returns.

    ``dead_man`` is the read end of a pipe that ends with the supervisor.
    """
    try:
        settle()
        # Not for what a preloaded module may start.
        os.set_inheritable(fd, False)
        os.set_inheritable(dead_man, False)
        with socket.socket(fileno=fd) as peer:
            _serve(peer, dead_man)
    except BaseException:  # noqa: BLE001 - must not unwind into what was forked along
        traceback.print_exc()
        leave(1)
    leave(0)


def _serve(peer: socket.socket, dead_man: int) -> None:
    _settle_in()
    wake_fds = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _arm_signals(wake_fds)
    order = json.loads(peer.recv(MESSAGE_BYTES))
    state = _State(peer, order["start_method"], wake_fds)
    if order["sys_path"]:
        sys.path[:] = order["sys_path"]
        importlib.invalidate_caches()
    failure = _preload(state, order["preload"], dead_man)
    if failure is not None:
        _tell(state, {"op": "failed", "detail": failure[-_DETAIL_CHARACTERS:]})
        _kill_everything(state)
        return
    state.kept = frozenset(children())
    # What was preloaded may have taken the signals for itself, as an event loop does.
    _arm_signals(wake_fds)
    _reap(state)
    # What a preloaded module has printed would be written by each worker at its end, too.
    flush_standard_streams()
    gc.collect()
    gc.freeze()
    _tell(state, {"op": "preloaded", "unforkable": state.culprits})
    state.poll.register(peer, select.POLLIN)
    state.poll.register(wake_fds[0], select.POLLIN)
    while True:
        ready = {fd for fd, _ in state.poll.poll()}
        if wake_fds[0] in ready:
            os.read(wake_fds[0], 4096)
        if ready != {peer.fileno()}:
            _reap(state)
            _tell_unseen(state, ready)
        if peer.fileno() in ready and not _obey(state):
            break
    _kill_everything(state)


def _preload(state: _State, names: list[str], dead_man: int) -> str | None:
    """Import the modules; return the traceback of one that fails.

    If they leave threads running, workers are executed instead of forked.

    Nobody listens to the socket meanwhile, so the kernel must see to it that the supervisor is not
    outlived. Not by a signal of the socket, on which orders come early: data sets it off, too. Nor
    by a parent-death signal: it comes when the *thread* ends that started this process.
    """
    arm(dead_man)
    try:
        culprits = import_watched(names)
    except BaseException:  # noqa: BLE001 - user code
        return traceback.format_exc()
    finally:
        disarm(dead_man)
    if culprits and state.start_method != "spawn":
        state.start_method, state.preload, state.culprits = "spawn", names, culprits
    return None


def _settle_in() -> None:
    """Leave the caller's session, and be the parent of all orphans below."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    adopt_orphans()


def _arm_signals(wake_fds: tuple[int, int]) -> None:
    """Leave the caller's signals; let the pipe be readable when a child dies."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(wake_fds[1], warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _tell(state: _State, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    try:
        socket.send_fds(state.peer, [json.dumps(message).encode()], fds)
    except OSError:
        # The supervisor is gone, and the end of the socket will say so.
        return


def receive_fds(peer: socket.socket, limit: int) -> tuple[bytes, list[int]]:
    """Receive one message and its descriptors, which no program that is executed inherits."""
    # Not socket.recv_fds, which pays no heed to its flags.
    fds = array.array("i")
    room = socket.CMSG_LEN(limit * fds.itemsize)
    data, messages, _, _ = peer.recvmsg(MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, body in messages:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(body[: len(body) // fds.itemsize * fds.itemsize])
    return data, list(fds)


# --- births ---------------------------------------------------------------------------------------


def _obey(state: _State) -> bool:
    """Start one worker; False at the end of the socket."""
    try:
        data, fds = receive_fds(state.peer, FDS_PER_WORKER)
    except ConnectionResetError:
        # The supervisor left with a report unread.
        return False
    if not data:
        return False
    order = json.loads(data)
    try:
        pid = os.fork()
    except OSError as exc:
        _close_all(fds)
        _tell(state, {**order, "op": "not_spawned", "detail": str(exc)})
        return True
    if pid == 0:
        _be_worker(state, fds)
    _close_all(fds)
    pidfd = open_pidfd(pid)
    state.workers[pid] = _Worker(order["worker"], order["generation"], pidfd)
    if pidfd is not None:
        # Tells of the death even if a thread of a preloaded module has disarmed the signal.
        state.poll.register(pidfd, select.POLLIN)
    _tell(state, {**order, "op": "spawned", "pid": pid}, () if pidfd is None else (pidfd,))
    return True


def _be_worker(state: _State, fds: list[int]) -> NoReturn:
    nursery = os.getppid()
    signal.set_wakeup_fd(-1)
    state.peer.close()
    _close_all(state.wake_fds)
    _close_all(w.pidfd for w in state.workers.values() if w.pidfd is not None)
    _raise_oom_score()
    if state.start_method == "spawn":
        _exec_worker(fds, nursery, state.preload)
    forget_exit_handlers()
    worker_main(_named(fds), parent_pid=nursery)


def _exec_worker(fds: list[int], nursery: int, preload: list[str]) -> NoReturn:
    for fd in fds:
        os.set_inheritable(fd, True)
    arguments = f"{fds!r}, {nursery}, {preload!r}"
    code = f"from knock.pool.nursery import spawned_main; spawned_main({arguments})"
    try:
        os.execv(sys.executable, interpreter_command(code))  # noqa: S606 - knock's own
    except OSError:
        traceback.print_exc()
    leave(1)


def spawned_main(fds: list[int], nursery: int, preload: Sequence[str]) -> NoReturn:
    """Be a worker in a fresh interpreter, which imports these modules before anything else."""
    for fd in fds:
        os.set_inheritable(fd, False)
    worker_main(_named(fds), parent_pid=nursery, preload=preload)


def _named(fds: list[int]) -> WorkerFds:
    channel, permits, ledger, scribble, dead_man, *output = fds
    return WorkerFds(
        channel=channel,
        permits=permits,
        ledger=ledger,
        scribble=scribble,
        dead_man=dead_man,
        output=tuple(output),
    )


def _raise_oom_score() -> None:
    # When memory runs out the kernel shall take a worker before its supervisor.
    try:
        with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
            score = min(1000, int(file.read()) + _OOM_SCORE)
            file.seek(0)
            file.write(str(score))
    except (OSError, ValueError):
        return


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


# --- deaths ---------------------------------------------------------------------------------------


def _reap(state: _State) -> None:
    """Take leave of all children that have ended, and of what they left behind."""
    while (pid := ended_child()) is not None:
        known = state.workers.pop(pid, None)
        if known is not None:
            # While its leader is a zombie the group's number cannot be another's.
            kill_group(pid)
        _, status, usage = os.wait4(pid, 0)
        swept = _sweep(state)
        if known is not None:
            seen = {
                "status": status,
                "peak_rss_bytes": usage.ru_maxrss * 1024,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
            _tell_death(state, pid, known, {**seen, "swept": swept})


def _tell_unseen(state: _State, ready: set[int]) -> None:
    """Tell deaths whose status the kernel gave to nobody: a thread has SIGCHLD ignored."""
    ended = [pid for pid, worker in state.workers.items() if worker.pidfd in ready]
    for pid in ended:
        seen = {"status": None, "peak_rss_bytes": None, "cpu_seconds": None}
        _tell_death(state, pid, state.workers.pop(pid), {**seen, "swept": _sweep(state)})


def _tell_death(state: _State, pid: int, worker: _Worker, facts: dict[str, Any]) -> None:
    if worker.pidfd is not None:
        state.poll.unregister(worker.pidfd)
        os.close(worker.pidfd)
    which = {"worker": worker.slot, "generation": worker.generation, "pid": pid}
    _tell(state, {"op": "died", **which, **facts})


def _sweep(state: _State) -> int:
    """Kill children that are no workers: they fell to this process when their parents died.

    Those that are still in the session of a living worker are left to its death.
    """
    known = state.kept.union(state.workers)
    strays = [
        pid for pid in children() if pid not in known and session_of(pid) not in state.workers
    ]
    for pid in strays:
        kill(pid)
    return len(strays)


def _kill_everything(state: _State) -> None:
    for pid in list(state.workers):
        kill_group(pid)
        kill(pid)
    state.workers.clear()
    state.kept = frozenset()
    for _ in range(_SWEEP_TURNS):
        _sweep(state)
        if not reap_all():
            return
        # Woken by the next death. Those that fall to this process may come at any time.
        if select.select([state.wake_fds[0]], [], [], _SWEEP_TURN_MS / 1000)[0]:
            os.read(state.wake_fds[0], 4096)
