"""Dead letters, statistics and events of a queue: what its operators ask."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, overload

from knock import config
from knock.core.job import JobRecord
from knock.errors import ConfigError
from knock.queue.handlers import EventHandler
from knock.queue.runtime import Runtime
from knock.queue.stats import QueueStats
from knock.supervisor.messages import EVENT_NAMES


class Enquiries(ABC):
    """See ``Queue``, whose methods these are."""

    @abstractmethod
    def _here(self) -> Runtime:
        """Return what is behind the queue in this process."""

    def get_dead_letter_items(
        self, limit: int = 10, *, job_type: str | None = None
    ) -> list[JobRecord]:
        """Return up to ``limit`` dead jobs, the latest first."""
        most = config.count("limit", limit)
        chosen = config.job_types(job_type)
        return self._here().ask(lambda desk: desk.dead(most, chosen))

    def retry_dead_letters(
        self, job_ids: Iterable[int] | None = None, *, job_type: str | None = None
    ) -> list[int]:
        """Queue dead jobs again that match all that is given, with fresh budgets; return their ids.

        None of all is all.
        """
        runtime, chosen = self._here(), config.job_types(job_type)
        ids = None if job_ids is None else config.job_ids(job_ids)
        if ids is None or chosen is not None:
            found = [r.spec.id for r in runtime.ask(lambda desk: desk.dead(None, chosen))]
            ids = found if ids is None else sorted(set(ids).intersection(found), key=ids.index)
        return runtime.ask(lambda desk: desk.requeue(ids))

    def purge_dead_letters(
        self,
        job_ids: Iterable[int] | None = None,
        *,
        job_type: str | None = None,
        older_than: float | None = None,
    ) -> int:
        """Delete dead jobs that match all that is given; return how many. None of all is all."""
        age = config.seconds("older_than", older_than, allow_none=True)
        runtime = self._here()
        before = None if age is None else runtime.clock.now() - age
        ids = None if job_ids is None else config.job_ids(job_ids)
        chosen = config.job_types(job_type)
        return runtime.ask(lambda desk: desk.purge(ids, chosen, before))

    # --- what goes on ---

    def get_stats(self) -> QueueStats:
        """Return counts, rates and breakers now."""
        return self._here().stats()

    @overload
    def on(self, event: str, handler: EventHandler) -> EventHandler: ...

    @overload
    def on(self, event: str) -> Callable[[EventHandler], EventHandler]: ...

    def on(self, event: str, handler: EventHandler | None = None) -> Any:
        """Call ``handler(event)`` with each ``QueueEvent`` of that name; without it a decorator.

        Handlers run in this process on a thread of their own, one after the other; one that
        raises or blocks is logged, and delays no job.

        Raises:
            ConfigError: There is no such event; the message has those that are.
        """
        _check_event(event)
        if handler is None:
            return lambda handler: self._add_handler(event, handler)
        return self._add_handler(event, handler)

    def _add_handler(self, event: str, handler: EventHandler) -> EventHandler:
        if not callable(handler):
            raise ConfigError(f"the handler of {event!r} must be a function, not {handler!r}")
        self._here().add_handler(event, handler)
        return handler


def _check_event(event: object) -> None:
    if not isinstance(event, str) or event not in EVENT_NAMES:
        known = ", ".join(sorted(EVENT_NAMES))
        raise ConfigError(f"no event {event!r}; known are {known}")
