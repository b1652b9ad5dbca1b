"""The job as its processor sees it, in the worker."""

import logging
from typing import Any, Protocol

from knock.errors import QueueClosedError
from knock.protocol.message import Handed


class Link(Protocol):
    """The way from a running job to its supervisor. All methods may be called from any thread.

    A ``ticket`` that no longer runs has nothing to say: ``log`` and ``progress`` drop it, ``call``
    raises ``QueueClosedError``.
    """

    def log(self, ticket: int, level: int, text: str) -> None:
        """Send a line."""

    def progress(self, ticket: int, done: float, total: float | None) -> None:
        """Send how far the job has come; may leave some out if they come too often."""

    def call(self, ticket: int, verb: str, body: bytes) -> bytes:
        """Ask the supervisor for something and wait for the answer."""


class Job:
    """One job while it runs.

    Attributes:
        id: Its id in the queue.
        type: Its type.
        data: What was given to ``add``.
        attempt: Number of this run, from 1.
        priority: 0 is most urgent.
        created_at: When it was added, UTC seconds.
        deadline: When it is killed if it still runs, UTC seconds; None for never. The time limits
            of the attempt count beside it.
    """

    __slots__ = (
        "_link",
        "_ticket",
        "attempt",
        "created_at",
        "data",
        "deadline",
        "id",
        "priority",
        "type",
    )

    def __init__(self, handed: Handed, data: Any, link: Link) -> None:
        self.id = handed.id
        self.type = handed.type
        self.data = data
        self.attempt = handed.attempt
        self.priority = handed.priority
        self.created_at = handed.created_at
        self.deadline = handed.deadline
        self._ticket = handed.ticket
        self._link = link

    def progress(self, done: float, total: float | None = None) -> None:
        """Tell how far this job has come, in units of its own; starts ``stall_timeout`` anew."""
        self._link.progress(self._ticket, done, total)

    def log(self, message: str, level: int = logging.INFO) -> None:
        """Log a line in the caller's process, under the logger ``knock.job``.

        Unlike what is logged by ``logging``, it is sent whatever the level.
        """
        self._link.log(self._ticket, level, message)

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.type!r} attempt {self.attempt}>"


class Desk:
    """What the worker has before it: the way out, and the job that runs."""

    __slots__ = ("_job", "data", "handed", "link")

    def __init__(self) -> None:
        self.link: Link | None = None
        self.handed: Handed | None = None
        self.data: Any = None
        self._job: Job | None = None

    def lay_out(self, handed: Handed, data: Any) -> None:
        """Begin a job. The ``Job`` is made when somebody asks for it: most functions do not."""
        self.handed, self.data = handed, data

    def clear(self) -> None:
        """End the job."""
        self.handed = self.data = self._job = None

    def job(self) -> Job | None:
        """Return the job that runs."""
        handed, link = self.handed, self.link
        if self._job is None and handed is not None and link is not None:
            self._job = Job(handed, self.data, link)
        return self._job


# One for the process: ``current_job`` is called by code that has nothing to carry it along.
DESK = Desk()


def current_job() -> Job | None:
    """Return the job that this process runs now; None outside of a job."""
    return DESK.job()


def in_worker() -> bool:
    """Whether this process is a worker (or is booting as one)."""
    return DESK.link is not None


def call_supervisor(verb: str, body: bytes) -> bytes:
    """Ask the supervisor for something from inside a running job, and wait for the answer.

    Raises:
        QueueClosedError: No job runs in this process.
    """
    handed, link = DESK.handed, DESK.link
    if handed is None or link is None:
        raise QueueClosedError("no job runs here that could ask its supervisor")
    return link.call(handed.ticket, verb, body)
