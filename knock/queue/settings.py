"""What a queue is set to, checked."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from knock import config
from knock.config import StartMethod
from knock.errors import ConfigError
from knock.storage import open_storage
from knock.storage.base import Storage
from knock.supervisor.client import Place, check_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a queue's supervisor and workers are started. See ``Queue`` for each."""

    workers: int
    place: Place
    start_method: StartMethod
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]
    retention: float | None


def check_settings(
    *,
    concurrency: int | None,
    supervisor: str,
    start_method: str | None,
    initializer: object,
    initargs: Iterable[Any],
    preload: Iterable[str],
    retention: float | None,
) -> Settings:
    """Return the settings.

    Raises:
        ConfigError: One is of the wrong type or out of range.
    """
    if initializer is not None and not callable(initializer):
        raise ConfigError(f"initializer must be a function or None, not {initializer!r}")
    return Settings(
        workers=_check_workers(concurrency),
        place=check_place(supervisor),
        start_method=config.start_method(start_method),
        initializer=initializer,
        initargs=tuple(initargs),
        preload=_check_preload(preload),
        retention=config.seconds("retention", retention, allow_none=True),
    )


def _check_workers(concurrency: int | None) -> int:
    if concurrency is None:
        cores, _ = config.usable_cores()
        return cores
    return config.count("concurrency", concurrency, minimum=1)


def _check_preload(preload: Iterable[str]) -> tuple[str, ...]:
    if isinstance(preload, str):
        # Else its letters would be taken for modules.
        raise ConfigError(f"preload must be a sequence of module names, not {preload!r}")
    return tuple(preload)


def choose_storage(storage: object) -> Storage:
    """Return the storage that was given, as itself or as a URL; None is ``$KNOCK_STORAGE``.

    Raises:
        ConfigError: It is neither, or no storage has that URL.
    """
    if storage is None:
        storage = os.environ.get("KNOCK_STORAGE") or "memory://"
    if isinstance(storage, str):
        return open_storage(storage)
    if isinstance(storage, Storage):
        return storage
    raise ConfigError(f"storage must be a storage or the URL of one, not {storage!r}")
