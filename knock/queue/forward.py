"""A queue inside a worker: it takes jobs and passes them on to the supervisor."""
# ruff: noqa: ARG002 - what is refused need not be looked at

import logging
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from knock.core.job import JobRecord, JobSpec
from knock.errors import QueueClosedError
from knock.pool.job import call_supervisor, current_job, in_worker
from knock.protocol.addition import ADD_VERB, decode_ids, encode_additions
from knock.queue.stats import Snapshot

logger = logging.getLogger("knock.queue")


# Their code is on the stack of whatever a worker, or the nursery that it comes from, runs.
_HOSTS = frozenset({"knock.pool.runner", "knock.pool.worker", "knock.pool.nursery"})


def is_forwarding() -> bool:
    """Whether a queue that is made now is the worker's copy of one of the caller's.

    So it is if no job runs in this worker, or a module is being imported: the queue is at its top
    level. A queue that a job makes for itself is a real one.
    """
    return (in_worker() and current_job() is None) or is_importing()


def is_importing() -> bool:
    """Whether this is called, however indirectly, from the top level of a module in a worker."""
    is_found = False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") in _HOSTS:
            return is_found
        spec = frame.f_globals.get("__spec__")
        if frame.f_code.co_name == "<module>" and getattr(spec, "_initializing", False):
            is_found = True
        frame = frame.f_back
    return False


class ForwardDesk:
    """See ``Desk``. The jobs get their ids from the supervisor."""

    def add(
        self, jobs: list[JobSpec], definitions: tuple[bytes, ...], *, is_keyed: bool
    ) -> list[int]:
        """See ``Desk``. The definitions are in every worker already: they came from one."""
        if is_importing():
            # The caller's own import has added them.
            logger.debug("%d jobs added by a module that a worker imports are ignored", len(jobs))
            return [0] * len(jobs)
        return decode_ids(call_supervisor(ADD_VERB, encode_additions(jobs)))

    def get(self, job_id: int) -> JobRecord:
        """See ``Desk``."""
        self._refuse()

    def watch(self, job_id: int, timeout: float | None) -> JobRecord:
        """See ``Desk``."""
        self._refuse()

    def wait_idle(self, timeout: float | None) -> None:
        """See ``Desk``. At the top level of a module there is nothing to wait for in a worker."""
        if not is_importing():
            self._refuse()

    def cancel(self, job_id: int) -> bool:
        """See ``Desk``."""
        self._refuse()

    def dead(self, limit: int | None, job_type: str | None) -> list[JobRecord]:
        """See ``Desk``."""
        self._refuse()

    def requeue(self, job_ids: Sequence[int]) -> list[int]:
        """See ``Desk``."""
        self._refuse()

    def purge(
        self, job_ids: Sequence[int] | None, job_type: str | None, before: float | None
    ) -> int:
        """See ``Desk``."""
        self._refuse()

    def snapshot(self) -> Snapshot:
        """See ``Desk``."""
        self._refuse()

    def first_id(self) -> int:
        """See ``Desk``. The ids made here are not used."""
        return 1

    def _refuse(self) -> NoReturn:
        raise QueueClosedError("in a worker a queue only takes jobs")
