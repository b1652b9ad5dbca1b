"""The queue as its users see it."""

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload

from knock import config
from knock.core.job import UNSET, JobRecord, Priority, Unset
from knock.core.policy import BreakerPolicy, JobPolicy
from knock.errors import ForkedProcessError
from knock.outcome import value_of
from knock.pool.job import in_worker
from knock.queue.enquiry import Enquiries
from knock.queue.exit import drain, tidy_up_after
from knock.queue.forward import is_forwarding
from knock.queue.intake import NO_DELAY, AddOptions, check_keys
from knock.queue.policy import PolicyOptions, build_policy
from knock.queue.registry import Registry
from knock.queue.runtime import Runtime, runtime_in_worker, runtime_of
from knock.queue.session import Settings
from knock.storage import InMemoryStorage, Storage, choose_storage
from knock.supervisor.setup import check_recycling, check_setup

F = TypeVar("F", bound=Callable[..., Any])


class Queue(Enquiries):
    """Runs jobs in worker processes: by priority, with retries, circuit breakers, dead letters.

    Before ``start`` it takes jobs and keeps them; after ``stop`` it only answers questions, until
    it is started again. All methods may be called from any thread. At exit of the interpreter a
    started queue first does what is queued. In a worker it only takes jobs.

    Args:
        storage: A storage or the URL of one; None is ``$KNOCK_STORAGE``, or else in memory.
        concurrency: Worker processes; None is one for each core that this process may use.
        retry_attempts: Retries after errors and timeouts, so a job runs once more than this.
        retry_delay: Seconds before the first retry at least; it doubles with each.
        retry_delay_max: Seconds at which it doubles no more.
        retry_crashes: Retries after crashes; None is ``min(retry_attempts, 2)``.
        retry_oom: Retries after kills for want of memory; None as above.
        retry_lost: Retries of jobs whose supervisor died.
        circuit_breaker_threshold: Consecutive failures of a job type after which its jobs wait,
            uncharged; None is no circuit breaker.
        breaker: Everything about circuit breakers, instead of the threshold.
        timeout: Seconds that one attempt may run; None is no limit.
        soft_timeout: Seconds after which ``SoftTimeoutError`` is raised in a running job.
        stall_timeout: Seconds that a job may run without a call of ``job.progress``.
        memory_limit: Resident memory that one attempt may use, with its child processes: bytes,
            or text such as ``"512MiB"``. A job that wants more meets ``MemoryError``; one that
            has more is killed.
        max_result_bytes: How large a result may be when pickled; None is no limit.
        max_payload_bytes: How large the data of a job may be when pickled; None is no limit.
        supervisor: Where dispatching is done: in a ``"process"`` of its own, or in a ``"thread"``.
        start_method: ``"forkserver"``, ``"spawn"`` or ``"fork"``; None is the first.
        initializer: Called in each worker before its first job.
        initargs: Arguments for it.
        preload: Names of modules to import once, for all workers.
        max_jobs_per_worker: Jobs after which a worker process is replaced; it never runs more.
        max_worker_memory: Bytes, or text such as ``"512MiB"``: a worker whose resident size
            before a job was this is replaced after it.
        max_worker_age: Seconds after which a worker is replaced, when it has done its job.
            Workers are replaced from 0.8 of these three on, where few others are. None: never.
        capture_output: Keep what jobs, and processes that they start, write to standard output and
            error with their attempts, up to the last 64 KiB of each; it is shown nowhere else.
        isolation: What a job may leave to the next one in its process: ``"shared"`` most things,
            ``"restore"`` modules and globals, ``"fresh"`` nothing (a process for each attempt).
        retention: Seconds that completed and cancelled jobs are kept; None is for ever.

    Raises:
        ConfigError: A setting is of the wrong type or out of range.
    """

    def __init__(
        self,
        storage: Storage | str | None = None,
        *,
        concurrency: int | None = None,
        retry_attempts: int = 3,
        retry_delay: float = 1.0,
        retry_delay_max: float = 300.0,
        retry_crashes: int | None = None,
        retry_oom: int | None = None,
        retry_lost: int = 2,
        circuit_breaker_threshold: int | None = 5,
        breaker: BreakerPolicy | Unset | None = UNSET,
        timeout: float | None = None,
        soft_timeout: float | None = None,
        stall_timeout: float | None = None,
        memory_limit: int | str | None = None,
        max_result_bytes: int | str | None = None,
        max_payload_bytes: int | str | None = None,
        supervisor: Literal["process", "thread"] = "process",
        start_method: Literal["forkserver", "spawn", "fork"] | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        preload: Iterable[str] = (),
        max_jobs_per_worker: int | None = None,
        max_worker_memory: int | str | None = None,
        max_worker_age: float | None = None,
        capture_output: bool = False,
        isolation: Literal["shared", "restore", "fresh"] = "shared",
        retention: float | None = 3600.0,
    ) -> None:
        if is_forwarding():
            self._runtime = runtime_in_worker()
            return
        policy = build_policy(
            JobPolicy(),
            PolicyOptions(
                timeout=timeout,
                soft_timeout=soft_timeout,
                stall_timeout=stall_timeout,
                memory_limit=memory_limit,
                max_result_bytes=max_result_bytes,
                retry_attempts=retry_attempts,
                retry_delay=retry_delay,
                retry_delay_max=retry_delay_max,
                retry_crashes=retry_crashes,
                retry_oom=retry_oom,
                retry_lost=retry_lost,
                circuit_breaker_threshold=(
                    circuit_breaker_threshold if breaker is UNSET else UNSET
                ),
                breaker=breaker,
            ),
        )
        settings = Settings(
            setup=check_setup(
                workers=config.workers("concurrency", concurrency),
                supervisor=supervisor,
                start_method=start_method,
                initializer=initializer,
                initargs=initargs,
                preload=preload,
                recycle=check_recycling(
                    max_jobs_per_worker=max_jobs_per_worker,
                    max_worker_memory=max_worker_memory,
                    max_worker_age=max_worker_age,
                ),
                capture_output=capture_output,
                isolation=isolation,
            ),
            retention=config.seconds("retention", retention, allow_none=True),
            max_payload_bytes=config.optional_size("max_payload_bytes", max_payload_bytes),
        )
        chosen = choose_storage(storage)
        used = InMemoryStorage() if chosen is None else chosen
        self._runtime = runtime_of(used, Registry(policy, settings.setup.workers), settings)
        tidy_up_after(self, self._runtime.leftovers, self._runtime.handlers)

    def _here(self) -> Runtime:
        if self._runtime.pid != os.getpid():
            if not in_worker():
                raise ForkedProcessError("a queue cannot be used in a process forked after it")
            self._runtime = runtime_in_worker()
        return self._runtime

    def __reduce__(self) -> tuple[Callable[[], "Queue"], tuple[()]]:
        return load_in_worker, ()

    def __repr__(self) -> str:
        return f"<Queue of {', '.join(self._runtime.registry.policies) or 'nothing yet'}>"

    # --- processors ---

    @overload
    def process(
        self, job_type: str, fn: F, *, retry_on: Any = None, **options: Unpack[PolicyOptions]
    ) -> F: ...

    @overload
    def process(
        self, job_type: str, *, retry_on: Any = None, **options: Unpack[PolicyOptions]
    ) -> Callable[[F], F]: ...

    def process(
        self,
        job_type: str,
        fn: Callable[..., Any] | None = None,
        *,
        retry_on: Any = None,
        **options: Unpack[PolicyOptions],
    ) -> Any:
        """Run jobs of this type by ``fn(job)``; without ``fn`` a decorator.

        The value that it returns, or awaits, is the job's result. ``retry_on``: exception classes,
        or a function of the exception, that are worth a retry; None is all. Other options are
        those of ``PolicyOptions``. Registering a type again replaces its processor.

        Raises:
            ConfigError: Something is of the wrong type or out of range.
            SerializationError: The queue is started and ``fn`` cannot be sent to its workers.
        """
        runtime = self._here()
        registration = runtime.registry.check(job_type, retry_on, options)
        if fn is not None:
            return runtime.register(registration, fn)
        return lambda fn: runtime.register(registration, fn)

    # --- jobs in ---

    def add(
        self,
        job_type: str,
        data: Any = None,
        *,
        priority: str | Priority = "normal",
        delay: float = NO_DELAY,
        expires_in: float | None = None,
        deadline: float | None = None,
        key: str | None = None,
        timeout: float | Unset | None = UNSET,
        retry_attempts: int | Unset = UNSET,
    ) -> int:
        """Add a job and return its id. ``data`` is pickled now.

        Args:
            job_type: The type, whose processor will find ``data`` as ``job.data``.
            data: Anything that can be pickled.
            priority: ``"high"``, ``"normal"`` or ``"low"``; first in, first out inside one.
            delay: Seconds before which it does not start.
            expires_in: Seconds after which it is dead if it has not started.
            deadline: Seconds after which it is dead if it has not ended: it is not started any
                more, not tried again, and killed if it runs.
            key: While a job with this key is stored, nothing is added and the id is that one's.
            timeout: As in ``process``, for this job.
            retry_attempts: As in ``process``, for this job.

        Raises:
            ConfigError: Something is of the wrong type or out of range.
            SerializationError: ``data`` cannot be pickled; the message says what of it.
            ProcessorNotFoundError: The queue is started and has no processor for the type.
            QueueClosedError: The queue was stopped.
        """
        runtime = self._here()
        terms = runtime.intake.terms(
            job_type,
            priority=priority,
            delay=delay,
            expires_in=expires_in,
            deadline=deadline,
            timeout=timeout,
            retry_attempts=retry_attempts,
        )
        return runtime.add(terms, data, None if key is None else config.key("key", key))

    def add_many(
        self,
        job_type: str,
        data: Iterable[Any],
        *,
        keys: Iterable[str] | None = None,
        **options: Unpack[AddOptions],
    ) -> list[int]:
        """Add a job for each of ``data``, all or none, and return their ids in order.

        Options are those of ``add``, for all of them; ``keys`` has a key for each. Raises what
        ``add`` raises; a ``SerializationError`` names the index.
        """
        runtime = self._here()
        terms = runtime.intake.terms(job_type, **options)
        # The caller's iterators run before the lock is taken: they may take long, or add jobs.
        items = list(data)
        return runtime.add_many(terms, items, check_keys(keys, len(items)))

    enqueue = add

    def enqueue_once(
        self, key: str, job_type: str, data: Any = None, **options: Unpack[AddOptions]
    ) -> int:
        """Add a job unless one with this key is stored; return the id of the one that is."""
        return self.add(job_type, data, key=key, **options)

    # --- running; in a worker none of it does anything ---

    def start(self) -> None:
        """Start the supervisor and its workers, and return at once; nothing if it is started.

        Raises:
            ConfigError: The storage cannot be sent to a supervisor process.
            SerializationError: A processor or the initializer cannot be sent to the workers.
            KnockError: The queue was started before and its supervisor failed: why it did.
        """
        self._here().start(self._drain)

    def stop(self, timeout: float | None = None) -> None:
        """Start nothing new, wait for what runs, end the workers; nothing if it is not started.

        What still runs after ``timeout`` seconds (None: for ever) is killed, and queued again
        uncharged. Jobs that wait stay in the storage.
        """
        limit = config.seconds("timeout", timeout, allow_none=True)
        self._here().stop(limit, self._drain)

    def _drain(self) -> None:
        # A forked child that ends leaves the queue to its parent.
        if self._runtime.pid == os.getpid():
            drain(self)

    def run(self, stop_timeout: float | None = None) -> None:
        """Start, and stop on SIGTERM or SIGINT, as ``stop(stop_timeout)`` does; then return.

        A second signal kills what runs. Signals are taken in the main thread only, and their
        handlers put back; elsewhere this returns when another thread has stopped the queue.
        Raises ``WorkerBootError`` or ``SupervisorLostError`` if it comes to that.
        """
        limit = config.seconds("stop_timeout", stop_timeout, allow_none=True)
        self._here().run(limit, self._drain)

    def pause(self) -> None:
        """Start nothing new until ``resume``; what runs goes on."""
        self._here().set_paused(is_paused=True)

    def resume(self) -> None:
        """Start jobs again."""
        self._here().set_paused(is_paused=False)

    @property
    def is_paused(self) -> bool:
        """Whether nothing new starts."""
        return self._runtime.is_paused

    def join(self, timeout: float | None = None) -> None:
        """Wait until no job is queued (delayed and retrying ones included) or running.

        Raises:
            TimeoutError: That is not so after ``timeout`` seconds.
            QueueClosedError: There are jobs, but the queue does not run.
            SupervisorLostError: The supervisor process died.
        """
        limit = config.seconds("timeout", timeout, allow_none=True)
        self._here().ask(lambda desk: desk.wait_idle(limit))

    def __enter__(self) -> Self:
        """See ``start``."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Do what is queued, then stop; after an exception only what runs, or not even that."""
        is_urgent = kind is not None and not issubclass(kind, Exception)
        try:
            if kind is None and not self.is_paused and self._runtime.is_started:
                self.join()
        except BaseException:
            is_urgent = True
            raise
        finally:
            self.stop(0.0 if is_urgent else None)

    # --- what becomes of jobs ---

    def get_job(self, job_id: int) -> JobRecord:
        """Return what is stored of a job now. Raises ``JobNotFoundError``."""
        known_as = config.job_id(job_id)
        return self._here().ask(lambda desk: desk.get(known_as))

    def result(self, job_id: int, timeout: float | None = None) -> Any:
        """Wait for a job's end and return its value.

        Raises:
            Exception: Whatever the job raised in its last attempt.
            JobFailedError: It has no value for another reason; each has a class of its own.
            JobNotFoundError: There is no such job (any more).
            TimeoutError: It has not ended after ``timeout`` seconds.
            QueueClosedError: It has not ended, and the queue does not run.
            SupervisorLostError: The supervisor process died.
        """
        known_as = config.job_id(job_id)
        limit = config.seconds("timeout", timeout, allow_none=True)
        return value_of(self._here().ask(lambda desk: desk.watch(known_as, limit)))

    def cancel(self, job_id: int) -> bool:
        """End a job, killing it if it runs, and return once it has ended.

        False if it was not this that ended it: it had ended before, or its result came first.
        Raises ``JobNotFoundError``.
        """
        return self._here().cancel(config.job_id(job_id))


def load_in_worker() -> Queue:
    """Unpickle a queue. Raises ``ForkedProcessError`` anywhere but in a worker."""
    if not in_worker():
        raise ForkedProcessError("a queue can be sent to its own workers only")
    queue = Queue.__new__(Queue)
    queue._runtime = runtime_in_worker()
    return queue
