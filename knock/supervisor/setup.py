"""How a supervisor and its workers are set up: what a queue and a batch have in common."""

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from knock import config
from knock.config import Isolation, StartMethod, WorkerCount
from knock.core.policy import JobPolicy, RecyclePolicy
from knock.errors import ConfigError
from knock.pool.definition import Limits, Processor, dump_definitions
from knock.pool.forwarding import levels_here
from knock.pool.settings import PoolSettings
from knock.supervisor.client import Place, check_place
from knock.text import counted

_logger = logging.getLogger("knock.pool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where the supervisor runs, and how many workers start how, knowing what, for how long.

    ``workers_reason``: where their number comes from, if nobody has set it.
    """

    workers: int
    workers_reason: str | None
    place: Place
    start_method: StartMethod
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]
    recycle: RecyclePolicy | None
    captures: bool
    isolation: Isolation

    def tell_workers(self) -> None:
        """Log how many workers there will be and why, if nobody has set it."""
        if self.workers_reason is not None:
            _logger.info("%s: %s", counted(self.workers, "worker"), self.workers_reason)

    def pool_settings(
        self, processors: Mapping[str, Processor], *, threads: int = 1
    ) -> PoolSettings:
        """Return what workers with these processors start from, as things are now.

        ``threads`` is what each job may use, where all may use as many. But no module is preloaded
        with more than its share of the cores: the threads that it then starts forbid to fork.

        Raises:
            SerializationError: A processor or the initializer cannot be sent to workers.
        """
        cap = config.thread_cap(self.workers)
        return PoolSettings(
            definitions=dump_definitions(self.initializer, self.initargs, processors),
            start_method=self.start_method,
            preload=self.preload,
            sys_path=tuple(sys.path),
            argv=tuple(sys.argv),
            thread_cap=cap if self.preload else max(cap, threads),
            log_levels=levels_here(),
            captures=self.captures,
            isolation=self.isolation,
        )


def check_setup(
    *,
    workers: WorkerCount,
    supervisor: str,
    start_method: str | None,
    initializer: object,
    initargs: Iterable[Any],
    preload: Iterable[str],
    recycle: RecyclePolicy | None,
    capture_output: object,
    isolation: str,
) -> Setup:
    """Return the setup; ``workers`` was checked by the name that its caller has for it.

    ``recycle``: see ``check_recycling``.

    Raises:
        ConfigError: Something is of the wrong type or out of range.
    """
    if initializer is not None and not callable(initializer):
        raise ConfigError(f"initializer must be a function or None, not {initializer!r}")
    if not isinstance(capture_output, bool):
        raise ConfigError(f"capture_output must be True or False, not {capture_output!r}")
    level = config.isolation(isolation)
    if level == "fresh":
        recycle = replace(recycle or RecyclePolicy(), max_jobs=1)
    return Setup(
        workers=workers.number,
        workers_reason=workers.reason,
        place=check_place(supervisor),
        start_method=config.start_method(start_method),
        initializer=initializer,
        initargs=_check_arguments(initargs),
        preload=_check_preload(preload),
        recycle=recycle,
        captures=capture_output,
        isolation=level,
    )


def limits_of(policy: JobPolicy) -> Limits:
    """Return what the workers themselves hold the jobs of a type to."""
    return Limits(
        soft_timeout=policy.soft_timeout,
        memory_limit=policy.memory_limit,
        max_result_bytes=policy.max_result_bytes,
        threads=policy.threads,
    )


def check_recycling(
    *,
    max_jobs_per_worker: int | None,
    max_worker_memory: int | str | None,
    max_worker_age: float | None,
) -> RecyclePolicy | None:
    """Return when workers are replaced; None for never.

    Raises:
        ConfigError: Something is of the wrong type or out of range.
    """
    jobs, memory = max_jobs_per_worker, max_worker_memory
    policy = RecyclePolicy(
        max_jobs=None if jobs is None else config.count("max_jobs_per_worker", jobs, minimum=1),
        max_memory_bytes=(
            None if memory is None else config.size("max_worker_memory", memory, minimum=1)
        ),
        max_age=config.timeout("max_worker_age", max_worker_age),
    )
    return None if policy == RecyclePolicy() else policy


def _check_arguments(initargs: Iterable[Any]) -> tuple[Any, ...]:
    # A text would be taken apart into its letters.
    if isinstance(initargs, str | bytes) or not isinstance(initargs, Iterable):
        raise ConfigError(f"initargs must be a tuple of arguments, not {initargs!r}")
    return tuple(initargs)


def _check_preload(preload: object) -> tuple[str, ...]:
    if isinstance(preload, str) or not isinstance(preload, Iterable):
        raise ConfigError(f"preload must be a sequence of module names, not {preload!r}")
    names: tuple[object, ...] = tuple(preload)
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"preload must hold names of modules, not {name!r}")
    return cast("tuple[str, ...]", names)
