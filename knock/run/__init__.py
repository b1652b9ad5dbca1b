"""Batches: ``run_pool`` and ``iter_pool``."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from knock.core.job import JobState
from knock.errors import PoolInterrupted
from knock.outcome import Outcome
from knock.report import PoolReport
from knock.run.batch import INTERRUPT_GRACE_SECONDS, Batch, Ending
from knock.run.name import full_name_of
from knock.run.options import BatchOptions, check_options
from knock.run.progress import choose_display
from knock.run.stopping import add_note, tell_of
from knock.storage.base import Storage
from knock.supervisor.interrupt import Shield
from knock.text import counted

__all__ = ["BatchSettings", "iter_pool", "run_pool"]

R = TypeVar("R")

logger = logging.getLogger("knock.run")

# A signal that comes between Python's last look for one and the wait itself is seen after the wait.
_LOOK_SECONDS = 0.1


class BatchSettings(TypedDict, total=False):
    """The options of ``run_pool`` and ``iter_pool``. Durations are seconds.

    ``workers``: processes; None is one for each core that this process may use.
    ``threads``: how many threads one job may use; it takes as many worker slots, so that no more
    than ``workers // threads`` jobs run at once.
    ``timeout``: running time of one attempt, then it is killed; None is no limit.
    ``soft_timeout``: running time after which ``SoftTimeoutError`` is raised in the job.
    ``stall_timeout``: how long a job may run without a call of ``knock.current_job().progress``.
    ``memory_limit``: resident memory that one attempt may use, with its child processes: bytes, or
    text such as ``"512MiB"``; a job that wants more meets ``MemoryError``, one that has more is
    killed. ``max_result_bytes``, ``max_payload_bytes``: how large a result, or an item, may be when
    pickled; None is no limit.
    ``retry_attempts``: retries after an exception or a timeout; ``retry_delay`` before the first,
    at least, doubling up to ``retry_delay_max``, plus up to half of it by chance; ``retry_on``:
    the exception classes, or a function of the exception, that are worth a retry.
    ``retry_crashes``, ``retry_oom``: retries after a crash and after a kill for want of memory;
    None is ``min(retry_attempts, 2)``. ``retry_lost``: retries when knock itself lost the worker.
    ``on_error``: ``"stop"`` gives up at the first dead job. ``stop_after``: gives up after so many
    dead jobs, or a share such as ``"5%"`` of the input (of what has finished, once 20 have, where
    the input's length is unknown). Items that cannot be pickled count too, as soon as the caller's
    thread comes across them: what was pulled before may start meanwhile.
    ``storage``: where the jobs are kept, for longer than the batch: a storage or the URL of one; no
    other jobs may wait in it. ``key``: a function of the item (with several iterables, of the tuple
    of them) that names its job there, for this function: what has completed under that name is not
    run again, its stored outcome is used and ``is_restored``; items with one key are one job. The
    function is known by its module and name, so it must have one: no lambda, closure, partial or
    instance's method.
    ``seed``: seeds ``random`` and ``numpy.random`` for each item from the seed and its index.
    ``initializer(*initargs)`` is called in each worker before its first job; ``preload``: modules
    imported once for all workers. ``start_method``: ``"forkserver"``, ``"spawn"`` or ``"fork"``.
    ``max_jobs_per_worker``, ``max_worker_memory`` (bytes or text such as ``"512MiB"``, compared
    with the resident size before a job), ``max_worker_age`` (since it was ready): a worker that
    has come to one of these is replaced by a new process, from 0.8 of it on where few others are;
    no running job is cut short, and no worker runs more than ``max_jobs_per_worker``. None: never.
    ``capture_output``: what jobs, and processes that they start, write to standard output and error
    is kept with their attempts, up to the last 64 KiB of each, and shown nowhere else.
    ``isolation``: what a job may leave to the next one in its process: ``"shared"`` all but
    processes, signals, streams, directory and umask; ``"restore"`` little more than what it has
    imported and its globals; ``"fresh"`` nothing, each attempt has a process of its own.
    ``progress``: None shows a bar on a terminal and a line now and then elsewhere, on standard
    error; False is silence. ``supervisor``: ``"thread"`` of this process, or a ``"process"``.
    """

    workers: int | None
    threads: int
    timeout: float | None
    soft_timeout: float | None
    stall_timeout: float | None
    memory_limit: int | str | None
    max_result_bytes: int | str | None
    max_payload_bytes: int | str | None
    retry_attempts: int
    retry_delay: float
    retry_delay_max: float
    retry_on: (
        type[BaseException]
        | tuple[type[BaseException], ...]
        | list[type[BaseException]]
        | Callable[[BaseException], bool]
    )
    retry_crashes: int | None
    retry_oom: int | None
    retry_lost: int
    on_error: Literal["continue", "stop"]
    stop_after: int | str | None
    storage: Storage | str | None
    key: Callable[[Any], str] | None
    seed: int | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: Iterable[str]
    start_method: Literal["forkserver", "spawn", "fork"] | None
    max_jobs_per_worker: int | None
    max_worker_memory: int | str | None
    max_worker_age: float | None
    capture_output: bool
    isolation: Literal["shared", "restore", "fresh"]
    progress: bool | None
    supervisor: Literal["thread", "process"]


_DEFAULTS: dict[str, Any] = {
    "workers": None,
    "threads": 1,
    "timeout": None,
    "soft_timeout": None,
    "stall_timeout": None,
    "memory_limit": None,
    "max_result_bytes": None,
    "max_payload_bytes": None,
    "retry_attempts": 0,
    "retry_delay": 1.0,
    "retry_delay_max": 300.0,
    "retry_on": (Exception,),
    "retry_crashes": None,
    "retry_oom": None,
    "retry_lost": 2,
    "on_error": "continue",
    "stop_after": None,
    "storage": None,
    "key": None,
    "seed": None,
    "initializer": None,
    "initargs": (),
    "preload": (),
    "start_method": None,
    "max_jobs_per_worker": None,
    "max_worker_memory": None,
    "max_worker_age": None,
    "capture_output": False,
    "isolation": "shared",
    "progress": None,
    "supervisor": "thread",
}


def _check(
    fn: Callable[..., Any], iterables: tuple[Iterable[Any], ...], settings: dict[str, Any]
) -> BatchOptions:
    if not callable(fn):
        raise TypeError(f"the first argument must be a function, not {fn!r}")
    if not iterables:
        raise TypeError("there is nothing to run it on: give at least one iterable")
    unknown = settings.keys() - _DEFAULTS.keys()
    if unknown:
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    options = check_options(**(_DEFAULTS | settings))
    if options.key is not None:
        full_name_of(fn)
    return options


def run_pool(
    fn: Callable[..., R], *iterables: Iterable[Any], **settings: Unpack[BatchSettings]
) -> PoolReport[R]:
    """Run ``fn`` on every item in worker processes and return the report of all of it.

    Several iterables are zipped, strictly: ``fn(a, b)``. A job that raises, crashes or hangs costs
    that job and no other, and so does an item that cannot be pickled: look at ``report.ok``, or let
    ``report.results`` raise. ``fn`` and the items may be of ``__main__``, lambdas and closures too;
    no main guard is needed. See ``BatchSettings`` for the options.

    Raises:
        ConfigError: An option is of the wrong type or out of range.
        SerializationError: ``fn`` or ``initializer`` cannot be pickled.
        WorkerBootError: No worker can start: a bad import, or an initializer that fails.
        PoolInterrupted: Ctrl-C; it carries the report of what was done. The first lets running
            jobs finish for up to 5 s, a second kills them.
        Exception: Whatever the input or ``key`` raises, after running jobs had up to 5 s to
            finish. A note on it says how many had; the report of them is its ``report``, unless
            it has an attribute of that name or takes none.
    """
    options = _check(fn, iterables, dict(settings))
    with Shield() as shield:
        run = _Run(Batch(fn, iterables, options, shield), options)
        return run.report()


class _Run:
    """One call of ``run_pool``."""

    def __init__(self, batch: Batch, options: BatchOptions) -> None:
        self._batch = batch
        self._options = options
        self._outcomes: dict[int, Outcome[Any]] = {}
        self._report: PoolReport[Any] | None = None

    def report(self) -> PoolReport[Any]:
        is_interrupted = False
        try:
            is_interrupted = self._run()
        except KeyboardInterrupt:
            # It came so late that all is done: what there is to report is not lost to it.
            is_interrupted = True
            if self._report is None:
                raise
        if self._report is None:
            raise RuntimeError("a batch without a report: a bug in knock")
        failure = self._batch.feed.failure
        if is_interrupted:
            raise PoolInterrupted(self._report) from failure
        if failure is not None:
            tell_of(self._report, failure)
            raise failure
        return self._report

    def _run(self) -> bool:
        """Run to the end and make the report; return whether Ctrl-C was pressed."""
        batch = self._batch
        is_interrupted = False
        try:
            batch.start()
            batch.display = choose_display(self._options.progress)
            try:
                self._work()
                self._name_the_rest()
            except KeyboardInterrupt:
                is_interrupted = True
                self._interrupted()
                with suppress(KeyboardInterrupt):
                    self._name_the_rest()
            with batch.shield.closed():
                self._report = self._finish()
        finally:
            batch.close()
        return is_interrupted

    def _work(self) -> None:
        batch = self._batch
        while batch.stop_reason is None and (not batch.feed.is_over or batch.is_pending):
            if room := batch.room():
                batch.pull(room)
            self._keep(wait=batch.has_to_wait)
        batch.stop(None if batch.feed.failure is None else INTERRUPT_GRACE_SECONDS)
        while batch.facts is None:
            self._keep(wait=True)

    def _keep(self, *, wait: bool, longest: float | None = None) -> None:
        self._batch.gather(wait=wait, longest=longest)
        self._keep_gathered()

    def _keep_gathered(self) -> None:
        items, endings = self._batch.feed.items, self._batch.endings
        for index, record, is_restored in endings:
            self._outcomes[index] = Outcome(index, items[index], record, is_restored=is_restored)
        # Only now: Ctrl-C may have come in between, then all of it is kept once more.
        endings.clear()

    def _interrupted(self) -> None:
        """End early: Ctrl-C was pressed; each further one kills what still runs."""
        batch = self._batch
        batch.stop_reason = batch.stop_reason or "interrupted"
        grace = INTERRUPT_GRACE_SECONDS
        while batch.facts is None:
            try:
                batch.stop(grace)
                self._say_what_happens(grace)
                while batch.facts is None:
                    self._keep(wait=True, longest=_LOOK_SECONDS)
            except KeyboardInterrupt:
                grace = 0.0

    def _say_what_happens(self, grace: float) -> None:
        if sys.stderr is None or not grace or not self._batch.is_pending:
            return
        try:
            sys.stderr.write(
                f"knock: interrupted; running jobs may finish for {grace:g} s, "
                "Ctrl-C again kills them\n"
            )
        except (OSError, ValueError):
            pass  # nobody reads any more: the report counts

    def _name_the_rest(self) -> None:
        feed = self._batch.feed
        if not feed.is_over and self._batch.total is not None:
            feed.pull_rest()

    def _finish(self) -> PoolReport[Any]:
        batch, outcomes = self._batch, self._outcomes
        facts = batch.facts
        if facts is None:
            raise RuntimeError("the supervisor ended without its facts: a bug in knock")
        self._keep_gathered()
        items = batch.feed.items
        for index in range(len(items)):
            if index not in outcomes:
                outcomes[index] = batch.unfinished(index, items[index])
        if facts.stopped_by is None and batch.stop_reason is not None:
            facts = replace(facts, stopped_by=batch.stop_reason)
        listed = [outcomes[index] for index in range(len(items))]
        report: PoolReport[Any] = PoolReport(listed, facts)
        if any(outcome.state is JobState.DEAD for outcome in listed):
            logger.warning("%s", report.summary())
        return report


def iter_pool(
    fn: Callable[..., R], *iterables: Iterable[Any], **settings: Unpack[BatchSettings]
) -> Iterator[Outcome[R]]:
    """Run ``fn`` on every item and yield each ``Outcome`` as it finishes, in that order.

    The input is pulled lazily, on the calling thread, only so far ahead that the workers have
    something to do: it may be endless. Limits hold whatever the consumer and the input do
    meanwhile. Leaving the loop ends the pool, and kills what runs. So does an input that raises,
    once what has finished was yielded. Options, and what is raised, as in ``run_pool``; Ctrl-C
    raises ``KeyboardInterrupt``.
    """
    options = _check(fn, iterables, dict(settings))
    return _iterate(fn, iterables, options)


def _iterate(
    fn: Callable[..., R], iterables: tuple[Iterable[Any], ...], options: BatchOptions
) -> Iterator[Outcome[R]]:
    # Ctrl-C must reach the consumer's code between two outcomes: only start and end are shielded.
    batch = Batch(fn, iterables, options, Shield())
    items = batch.feed.items
    done = dead = 0
    try:
        with batch.shield:
            batch.start()
        batch.display = choose_display(options.progress)
        for index, record, is_restored in _endings(batch):
            done += 1
            dead += record.state is JobState.DEAD
            yield Outcome(index, items.pop(index), record, is_restored=is_restored)
        for index, item in items.items():
            yield batch.unfinished(index, item)
    finally:
        with batch.shield:
            batch.close()
        if dead:
            logger.warning("%d of %s died", dead, counted(done, "job"))


def _endings(batch: Batch) -> Iterator[Ending]:
    """Feed the batch and yield what ends, one at a time, until it is over."""
    endings, count = batch.endings, 0
    while not batch.feed.is_over or batch.is_pending:
        if room := batch.room():
            batch.pull(room)
        if not endings:
            batch.gather(wait=batch.has_to_wait)
        if endings:
            count += 1
            yield endings.popleft()
        elif batch.stop_reason is not None:
            break
    if batch.feed.failure is not None:
        add_note(batch.feed.failure, count)
        raise batch.feed.failure
    batch.stop(None)
    yield from batch.drain()
