"""The processors of a queue and their policies."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from knock import config
from knock.core.policy import JobPolicy
from knock.errors import ConfigError
from knock.pool.definition import Processor, RetryOn, Style, check_retry_on
from knock.queue.policy import PolicyOptions, build_policy
from knock.supervisor.setup import limits_of


@dataclass(frozen=True, slots=True)
class Registration:
    """All of a registration but its function, checked."""

    job_type: str
    retry_on: RetryOn | None
    policy: JobPolicy


class Registry:
    """Processors and policies by job type, for a pool of so many workers."""

    def __init__(self, base: JobPolicy, workers: int) -> None:
        self._base = base
        self._workers = workers
        self.processors: dict[str, Processor] = {}
        self.policies: dict[str, JobPolicy] = {}

    def check(self, job_type: str, retry_on: object, options: PolicyOptions) -> Registration:
        """Check what was given to ``process``.

        Raises:
            ConfigError: Something is of the wrong type or out of range.
        """
        policy = build_policy(self._base, options)
        config.threads(policy.threads, self._workers)
        classes = None if retry_on is None else check_retry_on(retry_on)
        return Registration(config.job_type(job_type), classes, policy)

    def make_processor(self, registration: Registration, fn: Callable[..., Any]) -> Processor:
        """Return the processor for a registration.

        Raises:
            ConfigError: ``fn`` cannot be called with a job.
        """
        _check_function(registration.job_type, fn)
        limits = limits_of(registration.policy)
        return Processor(fn, Style.JOB, registration.retry_on, limits)

    def check_change(self, registration: Registration) -> None:
        """Check a registration that workers which run already are to hear of.

        Raises:
            ConfigError: Their slots were counted with other threads of the type.
        """
        job_type, threads = registration.job_type, registration.policy.threads
        before = self.policies.get(job_type)
        if before is not None and before.threads != threads:
            raise ConfigError(
                f"threads of {job_type!r} cannot change from {before.threads} to {threads} "
                "while the queue is started"
            )

    def add(self, registration: Registration, processor: Processor) -> None:
        """Register a processor, in place of an earlier one of that type."""
        self.processors[registration.job_type] = processor
        self.policies[registration.job_type] = registration.policy


def _check_function(job_type: str, fn: object) -> None:
    if not callable(fn):
        raise ConfigError(f"the processor of {job_type!r} must be a function, not {fn!r}")
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # built in, without a signature to look at
    try:
        signature.bind(None)
    except TypeError as exc:
        raise ConfigError(
            f"the processor of {job_type!r} must take one argument, the job: {exc}"
        ) from None
