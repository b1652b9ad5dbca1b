"""The settings of a batch, checked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from knock import config
from knock.config import StartMethod
from knock.core.policy import JobPolicy, RetryPolicy, StopRule
from knock.errors import ConfigError
from knock.pool.definition import RetryOn
from knock.run.archive import KeyFunction, choose_storage
from knock.storage.base import Storage
from knock.supervisor.client import Place, check_place


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """See ``run_pool`` for each."""

    workers: int
    policy: JobPolicy
    retry_on: RetryOn
    stop_failures: int | None
    stop_rate: float | None
    storage: Storage | None
    key: KeyFunction | None
    seed: int | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    preload: tuple[str, ...]
    start_method: StartMethod
    progress: bool | None
    place: Place

    def stop_rule(self, total: int | None) -> StopRule | None:
        """Return when to give up a batch of ``total`` items (None: not known)."""
        if self.stop_failures is None and self.stop_rate is None:
            return None
        return StopRule(failures=self.stop_failures, rate=self.stop_rate, total=total)


def check_options(
    *,
    workers: int | None,
    timeout: float | None,
    retry_attempts: int,
    retry_delay: float,
    retry_delay_max: float,
    retry_on: object,
    retry_crashes: int | None,
    retry_oom: int | None,
    retry_lost: int,
    on_error: str,
    stop_after: int | str | None,
    storage: object,
    key: object,
    seed: int | None,
    initializer: object,
    initargs: Iterable[Any],
    preload: Iterable[str],
    start_method: str | None,
    progress: bool | None,
    supervisor: str,
) -> BatchOptions:
    """Return the options of a batch.

    Raises:
        ConfigError: One is of the wrong type or out of range.
    """
    retry = RetryPolicy(
        retry_attempts=config.count("retry_attempts", retry_attempts),
        retry_crashes=_count_or_none("retry_crashes", retry_crashes),
        retry_oom=_count_or_none("retry_oom", retry_oom),
        retry_lost=config.count("retry_lost", retry_lost),
        retry_delay=config.seconds("retry_delay", retry_delay),
        retry_delay_max=config.seconds("retry_delay_max", retry_delay_max),
    )
    config.check_retry_delays(retry.retry_delay, retry.retry_delay_max)
    failures, rate = _check_stop(on_error, stop_after)
    chosen = choose_storage(storage)
    if initializer is not None and not callable(initializer):
        raise ConfigError(f"initializer must be a function or None, not {initializer!r}")
    if isinstance(preload, str):
        raise ConfigError(f"preload must be a sequence of module names, not {preload!r}")
    if progress not in (None, True, False):
        raise ConfigError(f"progress must be True, False or None, not {progress!r}")
    return BatchOptions(
        workers=_check_workers(workers),
        policy=JobPolicy(timeout=_check_timeout(timeout), retry=retry),
        retry_on=_check_retry_on(retry_on),
        stop_failures=failures,
        stop_rate=rate,
        storage=chosen,
        key=_check_key(key, chosen),
        seed=None if seed is None else config.count("seed", seed, maximum=(1 << 63) - 1),
        initializer=initializer,
        initargs=tuple(initargs),
        preload=tuple(preload),
        start_method=config.start_method(start_method),
        progress=progress,
        place=check_place(supervisor),
    )


def _check_workers(workers: int | None) -> int:
    if workers is None:
        return config.usable_cores()[0]
    return config.count("workers", workers, minimum=1, maximum=4096)


def _check_timeout(timeout: float | None) -> float | None:
    checked = config.seconds("timeout", timeout, allow_none=True)
    if checked == 0:
        raise ConfigError("timeout must be more than 0 seconds; None is no limit")
    return checked


def _count_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else config.count(name, value)


def _check_key(key: object, storage: Storage | None) -> KeyFunction | None:
    if key is None:
        return None
    if not callable(key):
        raise ConfigError(f"key must be a function of the item or None, not {key!r}")
    if storage is None:
        raise ConfigError("key names jobs in a storage that outlives the batch: give storage too")
    return key


def _check_retry_on(retry_on: object) -> RetryOn:
    if isinstance(retry_on, type) and issubclass(retry_on, BaseException):
        return (retry_on,)
    if isinstance(retry_on, Sequence) and all(
        isinstance(one, type) and issubclass(one, BaseException) for one in retry_on
    ):
        return tuple(retry_on)
    if callable(retry_on) and not isinstance(retry_on, type):
        return retry_on
    raise ConfigError(f"retry_on must be exception classes or a function, not {retry_on!r}")


def _check_stop(on_error: str, stop_after: int | str | None) -> tuple[int | None, float | None]:
    if on_error not in ("continue", "stop"):
        raise ConfigError(f"on_error must be 'continue' or 'stop', not {on_error!r}")
    if stop_after is None:
        return (1, None) if on_error == "stop" else (None, None)
    if on_error == "stop":
        raise ConfigError("on_error='stop' means stop_after=1: give one of them")
    if isinstance(stop_after, str):
        return None, _percent(stop_after)
    return config.count("stop_after", stop_after, minimum=1), None


def _percent(text: str) -> float:
    try:
        percent = float(text.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not text.strip().endswith("%") or not 0 < percent <= 100:  # noqa: PLR2004 - percent
        raise ConfigError(f"stop_after must be a count or a share such as '5%', not {text!r}")
    return percent / 100
