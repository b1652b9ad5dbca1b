"""A worker's ledger: one page of shared memory in which it notes what it does.

The worker writes, the supervisor reads, whenever it likes. The page is the flight recorder: it
survives the worker. What it says is a hint by an untrusted process, never a proof; what has
started is told by the permit pipe.
"""

import fcntl
import mmap
import os
import struct
from enum import IntEnum
from time import monotonic_ns
from typing import NamedTuple

from knock.pool.descriptor import nameless_file
from knock.pool.mechanism import has

PAGE_BYTES = mmap.PAGESIZE
# The ticket stands before and after the start: a reader that comes between two stores sees
# two different tickets, and looks again.
_RUN = struct.Struct("<QQQ")
_PHASE = struct.Struct("<Q")
_RUN_AT = 0
_PHASE_AT = 64
# As ``_RUN``: the ticket twice, for both readers between two stores and what an earlier job left.
_PROGRESS_AT = 128
# Ticket and phase, of one moment only if the ticket is still the same afterwards.
_GLANCE = struct.Struct(f"<Q{_PHASE_AT - 8}xQ")
_READS = 8


class Phase(IntEnum):
    """What the worker does with the job."""

    IDLE = 0
    LOADING = 1
    RUNNING = 2
    PICKLING = 3
    SENDING = 4


_AT_WORK = frozenset({Phase.LOADING, Phase.RUNNING, Phase.PICKLING})


class Entry(NamedTuple):
    """What the ledger says: the ticket that runs (0: none), started when (CLOCK_MONOTONIC).

    ``progress_ns`` is when its job last told of progress; 0 if it has not.
    """

    ticket: int
    started_ns: int
    phase: int
    progress_ns: int = 0


def make_ledger() -> int:
    """Return the descriptor of a fresh, empty page.

    Its size is sealed: a job that cut it off would end whoever reads it, by SIGBUS. In a temporary
    file, where there is nothing else, a job that looks for it can do so.
    """
    fd = nameless_file("knock-ledger")
    os.ftruncate(fd, PAGE_BYTES)
    if not has("memfd"):
        return fd
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class LedgerWriter:
    """The worker's side."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, PAGE_BYTES)
        self._write_run = _RUN.pack_into
        self._write_phase = _PHASE.pack_into
        self._now = monotonic_ns

    def load(self, ticket: int) -> int:
        """A job begins: its clock runs from here (CLOCK_MONOTONIC, nanoseconds)."""
        now = self._now()
        self._write_run(self._page, _RUN_AT, ticket, now, ticket)
        self._write_phase(self._page, _PHASE_AT, Phase.LOADING)
        return now

    def phase(self, phase: Phase) -> None:
        """The job is in its next phase."""
        self._write_phase(self._page, _PHASE_AT, phase)

    def progress(self, ticket: int) -> None:
        """This job has made progress."""
        self._write_run(self._page, _PROGRESS_AT, ticket, self._now(), ticket)

    def idle(self) -> None:
        """No job runs."""
        self._write_run(self._page, _RUN_AT, 0, 0, 0)
        self._write_phase(self._page, _PHASE_AT, Phase.IDLE)


class LedgerReader:
    """The supervisor's side. Owns the mapping, not the descriptor."""

    def __init__(self, fd: int) -> None:
        self._page = mmap.mmap(fd, PAGE_BYTES, prot=mmap.PROT_READ)

    def read(self) -> Entry:
        """Return the present entry; an idle one if the worker writes nonsense."""
        for _ in range(_READS):
            before, started_ns, after = _RUN.unpack_from(self._page, _RUN_AT)
            if before == after:
                (phase,) = _PHASE.unpack_from(self._page, _PHASE_AT)
                progress_ns = self._progress_of(before)
                return Entry(before, _sane(started_ns), phase, progress_ns)
        return Entry(0, 0, 0)

    def _progress_of(self, ticket: int) -> int:
        before, progress_ns, after = _RUN.unpack_from(self._page, _PROGRESS_AT)
        return _sane(progress_ns) if before == after == ticket else 0

    def is_at_work_on(self, ticket: int) -> bool:
        """Whether the worker has this job and has not come to answer for it."""
        seen, phase = _GLANCE.unpack_from(self._page, _RUN_AT)
        # Looked at again: the next job may have begun in between, and no ticket comes twice.
        return seen == ticket and phase in _AT_WORK and self.read().ticket == ticket

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()


def _sane(instant_ns: int) -> int:
    return instant_ns if instant_ns < 1 << 63 else 0
