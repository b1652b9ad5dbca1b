"""How a supervisor and its workers are set up: what a queue and a batch have in common."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from knock import config
from knock.config import StartMethod
from knock.core.policy import JobPolicy
from knock.errors import ConfigError
from knock.pool.definition import Limits, Processor, dump_definitions
from knock.pool.settings import PoolSettings
from knock.supervisor.client import Place, check_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where the supervisor runs, and how many workers start how, knowing what."""

    workers: int
    place: Place
    start_method: StartMethod
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]

    def pool_settings(self, processors: Mapping[str, Processor]) -> PoolSettings:
        """Return what workers with these processors start from, as things are now.

        Raises:
            SerializationError: A processor or the initializer cannot be sent to workers.
        """
        return PoolSettings(
            definitions=dump_definitions(self.initializer, self.initargs, processors),
            start_method=self.start_method,
            preload=self.preload,
            sys_path=tuple(sys.path),
            argv=tuple(sys.argv),
            thread_cap=config.thread_cap(self.workers),
        )


def check_setup(
    *,
    workers: int,
    supervisor: str,
    start_method: str | None,
    initializer: object,
    initargs: Iterable[Any],
    preload: Iterable[str],
) -> Setup:
    """Return the setup; ``workers`` was checked by the name that its caller has for it.

    Raises:
        ConfigError: Something is of the wrong type or out of range.
    """
    if initializer is not None and not callable(initializer):
        raise ConfigError(f"initializer must be a function or None, not {initializer!r}")
    return Setup(
        workers=workers,
        place=check_place(supervisor),
        start_method=config.start_method(start_method),
        initializer=initializer,
        initargs=_check_arguments(initargs),
        preload=_check_preload(preload),
    )


def limits_of(policy: JobPolicy) -> Limits:
    """Return what the workers themselves hold the jobs of a type to."""
    return Limits(
        soft_timeout=policy.soft_timeout,
        memory_limit=policy.memory_limit,
        max_result_bytes=policy.max_result_bytes,
    )


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
