"""Settings, checked where they are given, and what this machine offers."""

import math
import numbers
import os
import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, overload

from knock.core.job import Priority
from knock.errors import ConfigError

StartMethod = Literal["forkserver", "spawn", "fork"]
START_METHODS: tuple[StartMethod, ...] = ("forkserver", "spawn", "fork")
Isolation = Literal["shared", "restore", "fresh"]
ISOLATIONS: tuple[Isolation, ...] = ("shared", "restore", "fresh")
# Longer than any job, and small enough that sums stay exact to the microsecond.
MAX_SECONDS = 10.0**9
MAX_COUNT = 10**9
# More than any machine has cores for; a mistake would start them all.
MAX_WORKERS = 4096
# A shorter limit cannot be told from a mistake: None is "no limit", never 0.
MIN_TIMEOUT = 0.001
MAX_SIZE = 1 << 62
MIN_MEMORY_LIMIT = 1 << 20
MAX_TYPE_CHARS = 255
# A message names the value, but need not hold all of it.
MAX_SHOWN_CHARS = 100

_SIZE = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,30})?)\s*([kmgt]?i?b?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


@overload
def seconds(name: str, value: object, *, minimum: float = 0.0) -> float: ...


@overload
def seconds(
    name: str, value: object, *, allow_none: bool, minimum: float = 0.0
) -> float | None: ...


def seconds(
    name: str, value: object, *, allow_none: bool = False, minimum: float = 0.0
) -> float | None:
    """Return a duration in seconds. None is "no limit" where ``allow_none``, never 0 or -1.

    Raises:
        ConfigError: It is no number (a bool or text is none), not finite, less than ``minimum``,
            or over 10**9.
    """
    if value is None and allow_none:
        return None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        none = " or None" if allow_none else ""
        raise ConfigError(f"{name} must be a number of seconds{none}, not {_shown(value)}")
    number = _float_of(value)
    if not minimum <= number <= MAX_SECONDS:  # NaN is in no range
        raise ConfigError(
            f"{name} must be between {minimum:g} and {MAX_SECONDS:g} seconds, not {_shown(value)}"
        )
    return number


def count(name: str, value: object, *, minimum: int = 0, maximum: int = MAX_COUNT) -> int:
    """Return a whole number. Raises ``ConfigError`` for anything else, or out of range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} must be a whole number, not {_shown(value)}")
    number = int(value)
    if not minimum <= number <= maximum:
        raise ConfigError(f"{name} must be between {minimum} and {maximum}, not {_shown(value)}")
    return number


def timeout(name: str, value: object) -> float | None:
    """Return a limit of at least a millisecond, in seconds; None is no limit.

    Raises:
        ConfigError: As ``seconds``.
    """
    return seconds(name, value, allow_none=True, minimum=MIN_TIMEOUT)


class WorkerCount(NamedTuple):
    """How many workers, and what that comes from; no reason if somebody has set it."""

    number: int
    reason: str | None = None


def workers(name: str, value: object) -> WorkerCount:
    """Return a number of worker processes, 1 to 4096; None is one for each usable core.

    Raises:
        ConfigError: As ``count``.
    """
    if value is None:
        cores, reason = usable_cores()
        return WorkerCount(min(cores, MAX_WORKERS), reason)
    return WorkerCount(count(name, value, minimum=1, maximum=MAX_WORKERS))


def threads(value: object, worker_count: int) -> int:
    """Return how many threads a job may use, at least 1: it takes as many worker slots.

    Raises:
        ConfigError: As ``count``, or there are fewer workers.
    """
    number = count("threads", value, minimum=1)
    if number > worker_count:
        raise ConfigError(
            f"threads={number} takes {number} worker slots, and the pool has {worker_count}"
        )
    return number


def fraction(name: str, value: object) -> float:
    """Return a number from 0 to 1. Raises ``ConfigError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} must be a number between 0 and 1, not {_shown(value)}")
    number = _float_of(value)
    if not 0.0 <= number <= 1.0:
        raise ConfigError(f"{name} must be between 0 and 1, not {_shown(value)}")
    return number


def size(name: str, value: object, *, minimum: int = 0) -> int:
    """Return a size in bytes, given as a whole number or as text such as ``"512MiB"``.

    Raises:
        ConfigError: It is neither, or less than ``minimum``.
    """
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        unit = "" if match is None else match[2].lower().removesuffix("b")
        factor = _UNITS.get(unit) or _BINARY_UNITS.get(unit)
        if match is None or factor is None:
            raise ConfigError(f"{name} must be a size such as '512MiB', not {_shown(value)}")
        whole, _, decimals = match[1].partition(".")
        size_bytes = int(whole + decimals) * factor // 10 ** len(decimals)
        return count(name, size_bytes, minimum=minimum, maximum=MAX_SIZE)
    return count(name, value, minimum=minimum, maximum=MAX_SIZE)


def optional_size(name: str, value: object) -> int | None:
    """As ``size``, of at least a byte; None is no limit."""
    if value is None:
        return None
    found = size(name, value)
    if not found:
        raise ConfigError(f"{name} must be at least 1 byte or None, not {_shown(value)}")
    return found


def memory_limit(name: str, value: object) -> int | None:
    """As ``optional_size``, of at least a mebibyte: a number in MiB would stop every job."""
    found = optional_size(name, value)
    if found is not None and found < MIN_MEMORY_LIMIT:
        text = "must be at least 1 MiB (a number is in bytes) or None"
        raise ConfigError(f"{name} {text}, not {_shown(value)}")
    return found


def priority(value: object) -> Priority:
    """Return the priority given as ``"high"``, ``"normal"``, ``"low"`` or a ``Priority``."""
    if isinstance(value, Priority):
        return value
    if isinstance(value, str) and value.upper() in Priority.__members__:
        return Priority[value.upper()]
    raise ConfigError(f"priority must be 'high', 'normal' or 'low', not {_shown(value)}")


def start_method(value: object) -> StartMethod:
    """Return how workers are started; None is the first of ``START_METHODS``."""
    if value is None:
        return START_METHODS[0]
    for method in START_METHODS:
        if value == method:
            return method
    raise ConfigError(
        f"start_method must be one of {', '.join(START_METHODS)}, not {_shown(value)}"
    )


def isolation(value: object) -> Isolation:
    """Return how much of a job its worker keeps for the next one: one of ``ISOLATIONS``."""
    for level in ISOLATIONS:
        if value == level:
            return level
    raise ConfigError(f"isolation must be one of {', '.join(ISOLATIONS)}, not {_shown(value)}")


def job_type(value: object) -> str:
    """Return the name of a job type: text of 1 to 255 printable characters."""
    value = _text("a job type", value)
    if not 0 < len(value) <= MAX_TYPE_CHARS or not value.isprintable():
        raise ConfigError(
            f"a job type must have 1 to {MAX_TYPE_CHARS} printable characters, not {_shown(value)}"
        )
    return value


def job_types(value: object) -> str | None:
    """Return the job type to choose by; None is any. Raises ``ConfigError`` as ``job_type``."""
    return None if value is None else job_type(value)


def key(name: str, value: object) -> str:
    """Return the key of a job: text with something in it. Raises ``ConfigError`` otherwise."""
    text = _text(name, value)
    if not text:
        raise ConfigError(f"{name} must be text with something in it, not {_shown(value)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name} must be text that UTF-8 has, not {_shown(value)}") from None
    return text


def job_id(value: object) -> int:
    """Return the id of a job, as ``add`` returned it. Raises ``ConfigError`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"a job id must be a whole number, not {_shown(value)}")
    return int(value)


def job_ids(values: object) -> list[int]:
    """Return ids of jobs. Raises ``ConfigError`` for anything else, a single id too."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"job ids must be a list of whole numbers, not {_shown(values)}")
    return [job_id(value) for value in values]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, not {_shown(value)}")
    # Of a subclass, such as an enum of the caller's script, no other process may know.
    return str.__str__(value)


def _float_of(value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of too many digits
        return f"a {type(value).__name__} that is far too large"
    except Exception:  # noqa: BLE001 - user code
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


def check_retry_delays(delay: float, delay_max: float) -> None:
    """Raise ``ConfigError`` for a delay over its cap: most likely it was meant in milliseconds."""
    if delay > delay_max:
        raise ConfigError(
            f"retry_delay={delay:g} is over retry_delay_max={delay_max:g}; "
            "durations are in seconds (knock-mq took ms)"
        )


def check_soft_timeout(soft_timeout: float | None, hard: float | None) -> None:
    """Raise ``ConfigError`` for a warning that would come after the kill."""
    if soft_timeout is not None and hard is not None and soft_timeout >= hard:
        raise ConfigError(f"soft_timeout={soft_timeout:g} must be less than timeout={hard:g}")


def usable_cores(read: Callable[[str], str] | None = None) -> tuple[int, str]:
    """Return how many cores this process may use, at least 1, and what that number comes from.

    The smallest of: the machine's cores, the affinity mask, the quota of its cgroup (v2 or v1,
    rounded up). ``read`` returns a file's text; it is replaced in tests.
    """
    read = _read_text if read is None else read
    cores, reason = os.cpu_count() or 1, "cores of the machine"
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
        if allowed < cores:
            cores, reason = allowed, "affinity mask"
    quota = _cgroup_quota(read)
    if quota is not None and math.ceil(quota) < cores:
        cores, reason = max(1, math.ceil(quota)), f"cgroup quota of {quota:g} cores"
    return cores, reason


def _cgroup_quota(read: Callable[[str], str]) -> float | None:
    try:
        lines = read("/proc/self/cgroup").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        for folder in _ancestors(path):
            if controllers == "":
                quotas.append(_quota_v2(read, f"/sys/fs/cgroup{folder}"))
            elif "cpu" in controllers.split(","):
                quotas.append(_quota_v1(read, f"/sys/fs/cgroup/cpu{folder}"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _ancestors(path: str) -> list[str]:
    # In a container the path may be the host's: then only the root is there.
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return ["/".join(["", *parts[:n]]) for n in range(len(parts), -1, -1)]


def _quota_v2(read: Callable[[str], str], folder: str) -> float | None:
    try:
        quota, period = read(f"{folder}/cpu.max").split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number, and no quota
        return None


def _quota_v1(read: Callable[[str], str], folder: str) -> float | None:
    try:
        quota = int(read(f"{folder}/cpu.cfs_quota_us"))
        period = int(read(f"{folder}/cpu.cfs_period_us"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _read_text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def thread_cap(worker_count: int) -> int:
    """Return how many threads the numeric libraries of each worker may use, at least 1."""
    cores, _ = usable_cores()
    return max(1, cores // worker_count)
