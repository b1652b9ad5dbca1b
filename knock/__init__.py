"""knock runs CPU-heavy Python jobs on every core of a machine and never loses one.

Everything public is here and in ``__all__``; it is imported when it is first used, so that
``import knock`` costs next to nothing.
"""

import importlib

# The one place with a TYPE_CHECKING block: type checkers must see what is imported lazily below.
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knock.core.breaker import BreakerState
    from knock.core.job import (
        Attempt,
        AttemptOutcome,
        Death,
        JobError,
        JobRecord,
        JobSpec,
        JobState,
        Priority,
        Usage,
    )
    from knock.core.policy import BreakerPolicy
    from knock.errors import (
        ConfigError,
        ForkedProcessError,
        InvalidTransitionError,
        JobCancelledError,
        JobDiscardedError,
        JobExpiredError,
        JobFailedError,
        JobLostError,
        JobNotFoundError,
        JobsFailedError,
        JobTimeoutError,
        KnockError,
        OutOfMemoryError,
        PoolInterrupted,
        ProcessorNotFoundError,
        ProtocolError,
        QueueClosedError,
        QueueFullError,
        RemoteJobError,
        ResultDecodeError,
        SerializationError,
        SoftTimeoutError,
        StorageError,
        StorageUnavailableError,
        SupervisorLostError,
        UnsupportedPlatformError,
        WorkerBootError,
        WorkerCrashedError,
    )
    from knock.outcome import Outcome
    from knock.pool.control import Discard, RetryLater
    from knock.pool.job import Job, current_job
    from knock.queue import Queue, QueueInstance, QueueStats
    from knock.report import PoolReport
    from knock.run import iter_pool, run_pool
    from knock.storage import Storage
    from knock.storage.memory import InMemoryStorage
    from knock.supervisor.messages import QueueEvent

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "AttemptOutcome",
    "BreakerPolicy",
    "BreakerState",
    "ConfigError",
    "Death",
    "Discard",
    "ForkedProcessError",
    "InMemoryStorage",
    "InvalidTransitionError",
    "Job",
    "JobCancelledError",
    "JobDiscardedError",
    "JobError",
    "JobExpiredError",
    "JobFailedError",
    "JobLostError",
    "JobNotFoundError",
    "JobRecord",
    "JobSpec",
    "JobState",
    "JobTimeoutError",
    "JobsFailedError",
    "KnockError",
    "OutOfMemoryError",
    "Outcome",
    "PoolInterrupted",
    "PoolReport",
    "Priority",
    "ProcessorNotFoundError",
    "ProtocolError",
    "Queue",
    "QueueClosedError",
    "QueueEvent",
    "QueueFullError",
    "QueueInstance",
    "QueueStats",
    "RemoteJobError",
    "ResultDecodeError",
    "RetryLater",
    "SerializationError",
    "SoftTimeoutError",
    "Storage",
    "StorageError",
    "StorageUnavailableError",
    "SupervisorLostError",
    "UnsupportedPlatformError",
    "Usage",
    "WorkerBootError",
    "WorkerCrashedError",
    "__version__",
    "current_job",
    "iter_pool",
    "run_pool",
]

_HOMES = {
    "knock.core.breaker": ("BreakerState",),
    "knock.core.job": (
        "Attempt",
        "AttemptOutcome",
        "Death",
        "JobError",
        "JobRecord",
        "JobSpec",
        "JobState",
        "Priority",
        "Usage",
    ),
    "knock.core.policy": ("BreakerPolicy",),
    "knock.outcome": ("Outcome",),
    "knock.pool.control": ("Discard", "RetryLater"),
    "knock.pool.job": ("Job", "current_job"),
    "knock.queue": ("Queue", "QueueInstance", "QueueStats"),
    "knock.report": ("PoolReport",),
    "knock.run": ("iter_pool", "run_pool"),
    "knock.storage": ("Storage",),
    "knock.storage.memory": ("InMemoryStorage",),
    "knock.supervisor.messages": ("QueueEvent",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'knock' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF.get(name, "knock.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
