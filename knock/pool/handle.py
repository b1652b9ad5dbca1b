"""One worker process as its supervisor sees it: its descriptors, and what it was given.

Rule 1: a ticket is in one place: taken by the worker, in the permit pipe, not sent yet, or
        withheld. The last three have not started, and cannot while they are not in the pipe.
Rule 2: nothing is put into the permit pipe of a worker that is doomed: it may read on until the
        kill has landed.
Rule 3: a worker answers for the oldest ticket that it has taken, and for no other. Only the first
        answer counts; it comes when the job is over.
"""

import fcntl
import os
import signal
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice

from knock.core.commands import (
    KillCause,
)
from knock.core.events import Reading
from knock.core.handout import Dispatch
from knock.errors import ProtocolError
from knock.pool.captured import Captured, Stream
from knock.pool.channel import Channel, channel_pair
from knock.pool.descriptor import Descriptor, keep_private, nameless_file
from knock.pool.kin import handles, why_deaf
from knock.pool.ledger import LedgerReader, make_ledger
from knock.pool.logtail import LogTail
from knock.pool.nursery_client import Spawned
from knock.pool.permit import PermitPipe
from knock.pool.signals import SOFT_SIGNAL, STACK_SIGNAL
from knock.pool.weight import weigh
from knock.protocol.field import At
from knock.protocol.message import FROM_WORKER, encode_jobs

_SCRIBBLE_TAIL_BYTES = 1 << 14


class Handle:
    """The supervisor's side of one worker process. Raises OSError for want of descriptors.

    ``window`` are the tickets sent and not answered, in order; ``withheld`` those of them that
    were taken back to stay here. ``kill_at`` is when a worker that should be gone, or ready, is
    killed (UTC seconds), ``kill_reason`` what is said of it then,
    ``is_overdue`` whether it was; ``is_doomed`` whether it was killed at all, or will be when it
    exists. ``kill_ordered`` is why somebody else wanted it killed, ``no_stack`` why its stack is
    not known then, ``condemned`` the ticket for which no answer counts any more. ``report_by`` is
    when the nursery should have told of its death, which the kernel has shown. ``log_tail`` is
    what the running job has logged last; ``captured`` is what jobs write, if that is wanted.
    """

    def __init__(self, worker: int, generation: int, *, captures: bool = False) -> None:
        self.worker = worker
        self.generation = generation
        self.window: dict[int, None] = {}
        self.captured = Captured(self.window) if captures else None
        mine, theirs = channel_pair()
        self.channel = Channel(mine, FROM_WORKER)
        self._their_channel = keep_private(Descriptor(theirs.detach()))
        try:
            self._open()
        except OSError:
            self.channel.close()
            raise
        self.pid: int | None = None
        self._pidfd: Descriptor | None = None
        self.withheld: list[int] = []
        self.kill_at: float | None = None
        self.kill_reason = ""
        self.is_overdue = False
        self.report_by: float | None = None
        self.kill_ordered: KillCause | None = None
        self.no_stack = ""
        self.condemned = 0
        self._words_from = 0
        self.violation: str | None = None
        self.is_ready = False
        self.is_stopping = False
        self.is_doomed = False
        self.log_tail = LogTail()
        self._started = 0
        self._last_answered = 0
        self._unsent: deque[list[int]] = deque()

    def _open(self) -> None:
        self.permits = PermitPipe()
        self._their_ledger = keep_private(Descriptor(make_ledger()))
        self.ledger = LedgerReader(self._their_ledger.fd)
        self._scribble = keep_private(Descriptor(nameless_file("knock-scribble")))
        fcntl.fcntl(self._scribble.fd, fcntl.F_SETFL, os.O_APPEND)
        dead_man, alive = os.pipe2(os.O_CLOEXEC)
        self._dead_man = keep_private(Descriptor(dead_man))
        self._alive = keep_private(Descriptor(alive))

    # --- birth ---

    def worker_fds(self) -> list[int]:
        """Return the worker's descriptors, in the order that the nursery expects."""
        return [
            self._their_channel.fd,
            self.permits.worker_end.fd,
            self._their_ledger.fd,
            self._scribble.fd,
            self._dead_man.fd,
            *[stream.theirs.fd for stream in self._streams()],
        ]

    def _streams(self) -> tuple[Stream, ...]:
        return () if self.captured is None else self.captured.streams

    def handed_over(self) -> None:
        """Close this process's copies of what the worker owns now."""
        for end in (
            self._their_channel,
            self.permits.worker_end,
            self._their_ledger,
            self._dead_man,
            *[stream.theirs for stream in self._streams()],
        ):
            end.close()

    def born(self, spawned: Spawned) -> None:
        """The process exists."""
        self.pid = spawned.pid
        self._pidfd = spawned.pidfd
        if self.is_doomed:
            self._strike(spawned.pid)

    # --- jobs and permits ---

    def send_jobs(self, jobs: Sequence[Dispatch]) -> None:
        """Send jobs; their permits follow when the last byte is in the socket."""
        tickets = [job.ticket for job in jobs]
        self.window.update(dict.fromkeys(tickets))
        if self.is_doomed:
            self.withheld += tickets
            return
        self._unsent.append(tickets)
        self.channel.send(encode_jobs(jobs), self._sent)

    def _sent(self) -> None:
        tickets = self._unsent.popleft()
        if tickets:
            self._give(tickets)

    def _give(self, tickets: list[int]) -> None:
        if self.is_doomed:
            self.withheld += tickets
            return
        try:
            self.permits.give(tickets)
        except ProtocolError as exc:
            self.withheld += tickets
            self.violate(str(exc))

    def revoke(self, wanted: Collection[int]) -> list[int]:
        """Take these back for good if they have not started; return those."""
        back, rest = self._parted(self._in_pipe(), wanted)
        if rest:
            self._give(rest)
        for tickets in (*self._unsent, self.withheld):
            found, tickets[:] = self._parted(tickets, wanted)
            back += found
        for ticket in back:
            self.window.pop(ticket, None)
        self._end_if_through()
        return back

    @staticmethod
    def _parted(tickets: Collection[int], wanted: Collection[int]) -> tuple[list[int], list[int]]:
        back = [ticket for ticket in tickets if ticket in wanted]
        return back, [ticket for ticket in tickets if ticket not in wanted]

    def _in_pipe(self) -> list[int]:
        # What the worker may have written there itself, or twice, does not count.
        return [t for t in dict.fromkeys(self.permits.take_all()) if t in self.window]

    def withhold(self) -> None:
        """Let nothing start any more."""
        self.withheld += self._in_pipe()
        for tickets in self._unsent:
            self.withheld += tickets
            tickets.clear()

    def restore(self) -> None:
        """Let what was withheld start after all."""
        tickets, self.withheld = self.withheld, []
        if tickets:
            self._give(tickets)

    def unstarted(self) -> int:
        """Count the tickets that have not started."""
        return self.permits.left() + len(self.withheld) + sum(map(len, self._unsent))

    def count_started(self) -> None:
        """Count how many answers are due; to be called after the read that brings answers."""
        self._started = len(self.window) - self.unstarted()

    def answered(self, ticket: int) -> bool:
        """The worker is through with this ticket; False if it has said so just before.

        Raises ProtocolError, see rule 3.
        """
        if ticket != self.running or self._started <= 0:
            if ticket == self._last_answered:
                # A job had answered for itself, so this is what its worker says of it. The next job
                # may have begun meanwhile: it is not to pay for that.
                return False
            raise ProtocolError(f"an answer for ticket {ticket}, which it has not taken")
        self._started -= 1
        self._last_answered = ticket
        del self.window[ticket]
        self._end_if_through()
        return True

    def handed_back(self, tickets: Sequence[int]) -> None:
        """The worker gives back the oldest that it has taken: all of these, or ProtocolError."""
        count = len(tickets)
        if count > self._started or list(islice(self.window, count)) != list(tickets):
            raise ProtocolError(f"{count} tickets handed back, not all of which it has taken")
        for ticket in tickets:
            self.answered(ticket)

    def check_last_answer(self) -> None:
        """Raise ProtocolError if the job that was answered for still runs.

        It has answered for itself. Nothing would limit it any more, and what waits behind it would
        never begin.
        """
        if self.ledger.is_at_work_on(self._last_answered):
            raise ProtocolError(f"an answer for ticket {self._last_answered}, which still runs")

    @property
    def running(self) -> int:
        """The ticket that runs, if any does; 0 if nothing was sent."""
        return next(iter(self.window), 0)

    def look(self, at: At, limit: int | None) -> Reading:
        """Read the ledger and the permits; with a ``limit`` of bytes, look at the memory, too."""
        entry = self.ledger.read()
        return Reading(
            ticket=entry.ticket,
            started_at=at(entry.started_ns),
            permits_left=self.unstarted(),
            progress_at=at(entry.progress_ns) if entry.progress_ns else 0.0,
            sent_at=at(self.channel.sent_ns) if self.channel.sent_ns else 0.0,
            rss_bytes=None if limit is None or self.pid is None else weigh(self.pid, limit),
        )

    def stop(self) -> None:
        """Let the process end when it is through with what it holds."""
        self.is_stopping = True
        self._end_if_through()

    def _end_if_through(self) -> None:
        # Not before: what is taken back for a moment could not be given again.
        if self.is_stopping and not self.window:
            self.permits.end()

    # --- death ---

    def violate(self, violation: str) -> None:
        """It lied, so nothing that it says counts any more: kill it."""
        if self.violation is None:
            self.violation = violation
            self.kill()

    def kill(self) -> None:
        """Kill the process, now or as soon as it exists. Its children are left to the nursery."""
        if self.is_doomed:
            return
        self.is_doomed = True
        self.withhold()
        if self.pid is not None:
            self._strike(self.pid)

    def warn(self) -> None:
        """Send the process the soft signal, unless it would die of that instead of being warned.

        A job may have reset its handlers, or be another program by now.
        """
        if self.pid is not None and handles(self.pid, SOFT_SIGNAL):
            self._send_signal(self.pid, SOFT_SIGNAL)

    def _strike(self, pid: int) -> None:
        self._send_signal(pid, signal.SIGKILL)

    def _send_signal(self, pid: int, number: int) -> None:
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd.fd, number)
            else:
                # Not reaped before the nursery has said so, and then this handle is gone.
                os.kill(pid, number)
        except ProcessLookupError:
            return

    def kill_orphans(self) -> None:
        """Kill the process and its group, of which no nursery takes care any more."""
        self.kill()
        # A process that has not armed its dead-man pipe yet finds this when it does.
        self._alive.close()
        if self.pid is None:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    @property
    def pidfd(self) -> int:
        """A descriptor that is readable once the process is dead; -1 if there is none."""
        return -1 if self._pidfd is None else self._pidfd.fd

    def ask_for_stack(self, ticket: int) -> bool:
        """Let the process write the stacks of its threads; False if it cannot.

        It is to be killed then, and its answer for ``ticket`` does not count any more.
        """
        if self.pid is None:
            return False
        self.forget_words()
        self.no_stack = why_deaf(self.pid, STACK_SIGNAL)
        if self.no_stack:
            return False
        self.condemned = ticket
        self._send_signal(self.pid, STACK_SIGNAL)
        return True

    def words_written(self) -> int:
        """Count the bytes of ``last_words``."""
        return os.fstat(self._scribble.fd).st_size - self._words_from

    def forget_words(self) -> None:
        """Let ``last_words`` begin here."""
        self._words_from = os.fstat(self._scribble.fd).st_size

    def last_words(self) -> str:
        """Return the tail of what the process wrote while booting, crashing or being asked."""
        size = os.fstat(self._scribble.fd).st_size
        start = max(self._words_from, size - _SCRIBBLE_TAIL_BYTES)
        return os.pread(self._scribble.fd, size - start, start).decode(errors="replace")

    def close(self) -> None:
        """Close everything of this process."""
        self.handed_over()
        self.channel.close()
        self.permits.close()
        self.ledger.close()
        self._scribble.close()
        self._alive.close()
        if self.captured is not None:
            self.captured.close()
        if self._pidfd is not None:
            self._pidfd.close()
