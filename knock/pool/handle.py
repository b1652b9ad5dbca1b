"""One worker process as its supervisor sees it: its descriptors, and what it was given."""

import os
import signal
from collections import deque
from collections.abc import Sequence

from knock.core.events import Dispatch, KillCause
from knock.pool.channel import Channel, channel_pair
from knock.pool.descriptor import Descriptor, keep_private
from knock.pool.ledger import LedgerReader, make_ledger
from knock.pool.nursery_client import Spawned
from knock.pool.permit import PermitPipe
from knock.protocol.message import FROM_WORKER, encode_jobs

_SCRIBBLE_TAIL_BYTES = 1 << 14


class Handle:
    """The supervisor's side of one worker process.

    ``window`` are the tickets sent and not answered, in order. ``revoked`` are those taken back
    for a kill. ``kill_at`` is when a worker that should be gone is killed (UTC seconds).
    """

    def __init__(self, worker: int, generation: int) -> None:
        self.worker = worker
        self.generation = generation
        mine, self._worker_socket = channel_pair()
        self.channel = Channel(mine, FROM_WORKER)
        self.permits = PermitPipe()
        self._ledger_fd = make_ledger()
        self.ledger = LedgerReader(self._ledger_fd)
        scribble = os.memfd_create("knock-scribble", os.MFD_CLOEXEC)
        self._scribble = keep_private(Descriptor(scribble))
        dead_man, alive = os.pipe2(os.O_CLOEXEC)
        self._dead_man = Descriptor(dead_man)
        self._alive = keep_private(Descriptor(alive))
        self.pid: int | None = None
        self._pidfd: Descriptor | None = None
        self.window: dict[int, None] = {}
        self.revoked: list[int] = []
        self.kill_at: float | None = None
        self.kill_ordered: KillCause | None = None
        self.violation: str | None = None
        self.is_ready = False
        self._kill_on_birth = False
        self._unsent: deque[list[int]] = deque()

    # --- birth ---

    def worker_fds(self) -> list[int]:
        """Return the worker's descriptors, in the order that the nursery expects."""
        scribble = os.open(
            f"/proc/self/fd/{self._scribble.fd}", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        )
        return [
            self._worker_socket.fileno(),
            self.permits.worker_fd,
            self._ledger_fd,
            scribble,
            self._dead_man.fd,
        ]

    def handed_over(self, fds: list[int]) -> None:
        """Close this process's copies of what the worker owns now."""
        self._worker_socket.close()
        self._dead_man.close()
        for fd in fds[1:4]:
            os.close(fd)

    def born(self, spawned: Spawned) -> None:
        """The process exists."""
        self.pid = spawned.pid
        self._pidfd = spawned.pidfd
        if self._kill_on_birth:
            self.kill()

    # --- life ---

    def send_jobs(self, jobs: Sequence[Dispatch]) -> None:
        """Send jobs; their permits follow when the last byte is in the socket."""
        tickets = [job.ticket for job in jobs]
        self.window.update(dict.fromkeys(tickets))
        self._unsent.append(tickets)
        self.channel.send(encode_jobs(jobs), self._sent)

    def _sent(self) -> None:
        tickets = self._unsent.popleft()
        if tickets:
            self.permits.give(tickets)

    def take_all(self) -> list[int]:
        """Take back every job that has not started, those not even sent included."""
        taken = self.permits.take_all()
        for tickets in self._unsent:
            taken += tickets
            tickets.clear()
        return taken

    def kill(self) -> None:
        """Kill the process, now or as soon as it exists. Safe against a reused pid."""
        if self.pid is None:
            self._kill_on_birth = True
            return
        try:
            if self._pidfd is not None and self._pidfd.fd >= 0:
                signal.pidfd_send_signal(self._pidfd.fd, signal.SIGKILL)
            else:
                # Not reaped before the nursery has said so, and then this handle is gone.
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    # --- death ---

    def last_words(self) -> str:
        """Return the tail of what the process wrote while booting or crashing."""
        size = os.fstat(self._scribble.fd).st_size
        start = max(0, size - _SCRIBBLE_TAIL_BYTES)
        return os.pread(self._scribble.fd, size - start, start).decode(errors="replace")

    def close(self) -> None:
        """Close everything of this process."""
        self.channel.close()
        self.permits.close()
        self.ledger.close()
        self._scribble.close()
        self._dead_man.close()
        self._alive.close()
        if self._pidfd is not None:
            self._pidfd.close()
