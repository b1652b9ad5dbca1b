"""The worker process, from its first breath to its last."""

import atexit
import contextlib
import faulthandler
import gc
import importlib
import io
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from knock.pool.capture import Capture
from knock.pool.descriptor import out_of_the_way
from knock.pool.failure import format_exception
from knock.pool.forwarding import take_over_logging
from knock.pool.job import DESK
from knock.pool.ledger import LedgerWriter
from knock.pool.link import WorkerLink, leave
from knock.pool.preloading import import_all
from knock.pool.process import (
    ScribbledStderr,
    adopt_orphans,
    detach,
    die_with,
    flush_standard_streams,
    make_main,
    reseed,
)
from knock.pool.runner import Runner
from knock.pool.signals import STACK_SIGNAL
from knock.protocol.message import BootSettings, decode_boot, encode_boot_failed, encode_ready

_BOOT_FAILED = 1
# As EX_SOFTWARE of sysexits.h: a fault of knock, not of a job.
_INTERNAL_FAULT = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFds:
    """The descriptors that a worker lives by; all its own, none shared with another worker.

    ``channel``: its end of the socketpair, blocking. ``permits``: read end of the permit pipe,
    blocking. ``ledger``: file of one page. ``scribble``: file, O_APPEND. ``dead_man``: read end
    of the dead-man pipe, not armed yet. ``output``: write ends of the pipes for standard output and
    error, if they are captured.
    """

    channel: int
    permits: int
    ledger: int
    scribble: int
    dead_man: int
    output: tuple[int, ...] = ()


def worker_main(fds: WorkerFds, *, parent_pid: int, preload: Sequence[str] = ()) -> NoReturn:
    """Be a worker until the permit pipe ends; never returns.

    ``preload`` are modules to import before the definitions are loaded.

    To be called in a fresh single-threaded child (forked, or forked and exec'ed) of the process
    ``parent_pid``, whose death the worker does not survive.
    """
    try:
        code = _work(fds, parent_pid, preload)
    except BaseException:  # noqa: BLE001 - must not unwind into what was forked along
        # Nor may this: a job may have put anything in place of ``sys.stderr``.
        with contextlib.suppress(BaseException):
            traceback.print_exc()
        code = _INTERNAL_FAULT
    leave(code)


def _work(fds: WorkerFds, parent_pid: int, preload: Sequence[str]) -> int:
    fds = _out_of_the_way(fds)
    stderr = ScribbledStderr(fds.scribble)
    faulthandler.enable(fds.scribble)
    detach()
    faulthandler.register(STACK_SIGNAL, fds.scribble, all_threads=True)
    die_with(parent_pid, fds.dead_man)
    adopt_orphans()
    make_main()
    reseed()
    ledger = LedgerWriter(fds.ledger)
    runner = Runner(ledger)
    link = WorkerLink(fds.channel, fds.permits, ledger, runner.define_more)
    DESK.link = link
    settings, definitions = decode_boot(link.read_boot())
    _take_over(settings)
    if settings.log_levels is not None:
        take_over_logging(link, settings.log_levels)
    try:
        import_all(preload)
        runner.define(definitions)
    except BaseException as exc:  # noqa: BLE001 - user code; SystemExit is a failure too
        link.send(encode_boot_failed(format_exception(exc)))
        return _BOOT_FAILED
    # What is here now stays: no collection shall look at it again, or write to its pages.
    gc.freeze()
    stderr.restore()
    if settings.capture is not None:
        runner.capture = Capture(bytes.fromhex(settings.capture), *fds.output)
        runner.capture.begin()
    runner.settle(settings.isolation, settings.capped)
    link.send(encode_ready())
    link.open()
    runner.run(link)
    _end_in_order()
    return 0


def _out_of_the_way(fds: WorkerFds) -> WorkerFds:
    return WorkerFds(
        channel=out_of_the_way(fds.channel),
        permits=out_of_the_way(fds.permits),
        ledger=out_of_the_way(fds.ledger),
        scribble=out_of_the_way(fds.scribble),
        dead_man=out_of_the_way(fds.dead_man),
        output=tuple(map(out_of_the_way, fds.output)),
    )


def _take_over(settings: BootSettings) -> None:
    if settings.sys_path is not None:
        sys.path[:] = settings.sys_path
        importlib.invalidate_caches()
    if settings.argv is not None:
        sys.argv[:] = settings.argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a job printed before it was killed is not lost.
        with contextlib.suppress(ValueError):  # the caller has closed it
            sys.stdout.reconfigure(line_buffering=True)


def _end_in_order() -> None:
    atexit._run_exitfuncs()
    flush_standard_streams()
