"""The settings of a batch, checked."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from knock import config
from knock.core.policy import JobPolicy, RetryPolicy, StopRule
from knock.errors import ConfigError
from knock.pool.definition import RetryOn, check_retry_on
from knock.run.archive import KeyFunction
from knock.storage import Storage, choose_storage
from knock.supervisor.setup import Setup, check_recycling, check_setup


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """See ``run_pool`` for each."""

    setup: Setup
    policy: JobPolicy
    retry_on: RetryOn
    stop_failures: int | None
    stop_rate: float | None
    storage: Storage | None
    key: KeyFunction | None
    seed: int | None
    max_payload_bytes: int | None
    progress: bool | None

    def stop_rule(self, total: int | None) -> StopRule | None:
        """Return when to give up a batch of ``total`` items (None: not known)."""
        if self.stop_failures is None and self.stop_rate is None:
            return None
        return StopRule(failures=self.stop_failures, rate=self.stop_rate, total=total)


def check_options(
    *,
    workers: int | None,
    threads: int,
    timeout: float | None,
    soft_timeout: float | None,
    stall_timeout: float | None,
    memory_limit: int | str | None,
    max_result_bytes: int | str | None,
    max_payload_bytes: int | str | None,
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
    max_jobs_per_worker: int | None,
    max_worker_memory: int | str | None,
    max_worker_age: float | None,
    capture_output: bool,
    isolation: str,
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
    worker_count = config.workers("workers", workers)
    policy = JobPolicy(
        threads=config.threads(threads, worker_count.number),
        timeout=config.timeout("timeout", timeout),
        soft_timeout=config.timeout("soft_timeout", soft_timeout),
        stall_timeout=config.timeout("stall_timeout", stall_timeout),
        memory_limit=config.memory_limit("memory_limit", memory_limit),
        max_result_bytes=config.optional_size("max_result_bytes", max_result_bytes),
        retry=retry,
    )
    config.check_soft_timeout(policy.soft_timeout, policy.timeout)
    failures, rate = _check_stop(on_error, stop_after)
    chosen = choose_storage(storage)
    if progress not in (None, True, False):
        raise ConfigError(f"progress must be True, False or None, not {progress!r}")
    return BatchOptions(
        setup=check_setup(
            workers=worker_count,
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
        policy=policy,
        retry_on=check_retry_on(retry_on),
        stop_failures=failures,
        stop_rate=rate,
        storage=chosen,
        key=_check_key(key, chosen),
        seed=None if seed is None else config.count("seed", seed, maximum=(1 << 63) - 1),
        max_payload_bytes=config.optional_size("max_payload_bytes", max_payload_bytes),
        progress=progress,
    )


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
