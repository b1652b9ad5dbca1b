"""From keyword options to the policy of a job type."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypedDict, cast

from knock import config
from knock.core.job import UNSET, Unset
from knock.core.policy import BreakerPolicy, JobPolicy
from knock.errors import ConfigError


class PolicyOptions(TypedDict, total=False):
    """What ``process`` takes for one job type; what is not given comes from the queue.

    ``retry_attempts`` retries, so one run more. ``retry_crashes`` and ``retry_oom`` None:
    ``min(retry_attempts, 2)``. ``retry_delay`` doubles with each retry, up to ``retry_delay_max``.
    ``timeout`` None: no limit; ``soft_timeout``, ``stall_timeout``, ``memory_limit`` and
    ``max_result_bytes`` too, see ``Queue``. ``circuit_breaker_threshold`` consecutive failures open
    the type's breaker, None: it has none; ``breaker`` sets all that a breaker can do, instead.
    ``max_concurrency`` bounds how many jobs of the type run at once, None: not at all. A job of
    the type may use ``threads`` threads and takes as many of the queue's worker slots; no more than
    it has, and not to be changed while it is started.
    """

    timeout: float | Unset | None
    soft_timeout: float | Unset | None
    stall_timeout: float | Unset | None
    memory_limit: int | str | Unset | None
    max_result_bytes: int | str | Unset | None
    retry_attempts: int | Unset
    retry_delay: float | Unset
    retry_delay_max: float | Unset
    retry_crashes: int | Unset | None
    retry_oom: int | Unset | None
    retry_lost: int | Unset
    circuit_breaker_threshold: int | Unset | None
    breaker: BreakerPolicy | Unset | None
    max_concurrency: int | Unset | None
    threads: int | Unset


_RETRY_OPTIONS = (
    "retry_attempts",
    "retry_crashes",
    "retry_oom",
    "retry_lost",
    "retry_delay",
    "retry_delay_max",
)


_OWN_OPTIONS = (
    "timeout",
    "soft_timeout",
    "stall_timeout",
    "memory_limit",
    "max_result_bytes",
    "max_concurrency",
    "threads",
)


def build_policy(base: JobPolicy, options: PolicyOptions) -> JobPolicy:
    """Return ``base`` with the given options instead of its own.

    Raises:
        ConfigError: An option is of the wrong type or out of range.
    """
    given = {name: value for name, value in options.items() if value is not UNSET}
    _refuse_unknown(given)
    checked: dict[str, Any] = {name: _CHECKS[name](name, given[name]) for name in given}
    policy = replace(
        base,
        retry=replace(base.retry, **{k: checked[k] for k in _RETRY_OPTIONS if k in checked}),
        breaker=_build_breaker(base.breaker, checked),
        **{name: checked[name] for name in _OWN_OPTIONS if name in checked},
    )
    config.check_soft_timeout(policy.soft_timeout, policy.timeout)
    config.check_retry_delays(policy.retry.retry_delay, policy.retry.retry_delay_max)
    return policy


def _refuse_unknown(given: Mapping[str, object]) -> None:
    for name in given:
        if name not in _CHECKS:
            raise TypeError(f"no option {name!r}; known are {', '.join(sorted(_CHECKS))}")


def _build_breaker(base: BreakerPolicy | None, checked: Mapping[str, Any]) -> BreakerPolicy | None:
    if "breaker" in checked:
        if "circuit_breaker_threshold" in checked:
            raise ConfigError("give breaker or circuit_breaker_threshold, not both")
        return cast("BreakerPolicy | None", checked["breaker"])
    if "circuit_breaker_threshold" not in checked:
        return base
    threshold = checked["circuit_breaker_threshold"]
    if threshold is None:
        return None
    return replace(BreakerPolicy() if base is None else base, threshold=threshold)


def _count(name: str, value: object) -> int:
    return config.count(name, value)


def _optional_count(name: str, value: object) -> int | None:
    return None if value is None else config.count(name, value)


def _positive(name: str, value: object) -> int | None:
    return None if value is None else config.count(name, value, minimum=1)


def _delay(name: str, value: object) -> float:
    return config.seconds(name, value)


def _breaker(name: str, value: object) -> BreakerPolicy | None:
    if value is None:
        return None
    if not isinstance(value, BreakerPolicy):
        raise ConfigError(f"{name} must be a BreakerPolicy or None, not {value!r}")
    prefix = f"{name}."
    plain: dict[str, Any] = {}
    for field in ("threshold", "window", "minimum_calls", "probes"):
        plain[field] = config.count(prefix + field, getattr(value, field), minimum=1)
    for field in ("reset_timeout", "reset_timeout_max"):
        plain[field] = config.seconds(prefix + field, getattr(value, field))
    rate = value.failure_rate
    if rate is not None:
        plain["failure_rate"] = config.fraction(f"{prefix}failure_rate", rate)
        if not plain["failure_rate"]:
            raise ConfigError(f"{prefix}failure_rate must be over 0, not {rate!r}")
    if value.reset_timeout > value.reset_timeout_max:
        raise ConfigError(f"{prefix}reset_timeout is over reset_timeout_max")
    # Anew, of plain numbers: the supervisor's process may not know the caller's types.
    return BreakerPolicy(**plain)


_CHECKS: Mapping[str, Callable[[str, object], object]] = {
    "timeout": config.timeout,
    "soft_timeout": config.timeout,
    "stall_timeout": config.timeout,
    "memory_limit": config.memory_limit,
    "max_result_bytes": config.optional_size,
    "retry_attempts": _count,
    "retry_delay": _delay,
    "retry_delay_max": _delay,
    "retry_crashes": _optional_count,
    "retry_oom": _optional_count,
    "retry_lost": _count,
    "circuit_breaker_threshold": _positive,
    "breaker": _breaker,
    "max_concurrency": _positive,
    "threads": lambda name, value: config.count(name, value, minimum=1),
}
