"""What a supervisor is told when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knock.core.policy import JobPolicy, RecyclePolicy, StopRule
from knock.pool.clock import Clock
from knock.pool.settings import PoolSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorOptions:
    """Everything but the storage; picklable.

    ``retention``: seconds that completed and cancelled jobs are kept after their end, None for
    ever, 0 until they were told. Dead ones are kept until purged, unless ``keeps_dead`` is False:
    then they are treated alike.
    ``outbox_limit``: with so many ``Finished`` records not yet consumed nothing new is
    dispatched; None is no limit. ``max_payload_bytes`` bounds the pickled data of jobs that jobs
    add. ``seed`` seeds the jitter, None from the system.
    ``definitions`` were handed out by an ``ItemPickler`` for jobs that the storage already holds.
    """

    workers: int
    pool: PoolSettings
    clock: Clock
    policies: Mapping[str, JobPolicy] = field(default_factory=dict)
    definitions: tuple[bytes, ...] = ()
    stop_rule: StopRule | None = None
    recycle: RecyclePolicy | None = None
    retention: float | None = None
    keeps_dead: bool = True
    outbox_limit: int | None = None
    max_payload_bytes: int | None = None
    seed: int | None = None
