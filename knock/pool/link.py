"""The worker's end of its channel and permit pipe.

Rule 1: one permit is one start: a job runs only after its ticket was read from the permit pipe.
Rule 2: a frame is written whole before anything else is done. The result of a job is in the
        channel before the next permit is read.
Rule 3: only the job that runs may speak: what its left-over threads send later is dropped, or the
        supervisor would take it for a lie.
Rule 4: a record may be logged while a frame is being written, by the same thread: in a signal
        handler, or in a ``__del__``. It is dropped then: it must neither wait nor get between.
"""

import os
import select
import signal
import struct
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import NoReturn

from knock.errors import ForkedProcessError, ProtocolError, QueueClosedError
from knock.pool.descriptor import identity
from knock.pool.ledger import LedgerWriter
from knock.protocol.frame import FrameDecoder
from knock.protocol.logline import Origin, encode_log
from knock.protocol.message import (
    TO_WORKER,
    Call,
    Handed,
    Kind,
    decode_answer,
    decode_jobs,
    decode_resume_type,
    encode_call,
    encode_handed_back,
    encode_progress,
    encode_worn,
)

READ_BYTES = 1 << 18
# Progress sent more often than this is of no use to anybody who looks at it.
PROGRESS_NS = 50_000_000
# The exit code of a worker whose job has closed its descriptors; one that jobs hardly use.
DESCRIPTORS_CLOSED = 113
_TICKET = struct.Struct("<Q")
_CANNOT_SPEAK = "a process forked by a job cannot speak for it"

# Taken at import: a job may put its own functions in their place.
_read, _write, _writev, _exit = os.read, os.write, os.writev, os._exit
_raise_signal = signal.raise_signal


class WorkerLink:
    """Frames in and out, and the jobs that wait here; see the module's rules.

    ``define`` is called with each later set of definitions, before any job sent after it.
    """

    def __init__(
        self,
        channel: int,
        permits: int,
        ledger: LedgerWriter,
        define: Callable[[bytes], None],
    ) -> None:
        self._channel = channel
        self._permits = permits
        self._channel_identity = identity(channel)
        self._permits_identity = identity(permits)
        self._ledger = ledger
        self._define = define
        self._decoder = FrameDecoder(TO_WORKER)
        self._frames: deque[tuple[int, bytes]] = deque()
        self._is_open = False
        self._jobs: deque[Handed] = deque()
        # Types of which a job failed, until word comes; and what was here when it came.
        self._suspended: set[str] = set()
        self._held: set[int] = set()
        self._is_worn = False
        self._answers: dict[int, bytes] = {}
        self._calls = 0
        self._ticket = 0
        self._progress_at = 0
        # Held to look at what came in. Whoever waits reads for all: threads of a job may wait for
        # answers beside the main thread.
        self._arrival = threading.Condition()
        self._is_reading = False
        # Reentrant: see rule 4.
        self._writing = threading.RLock()
        self._is_writing = False
        self._deferred = 0
        # The worker's own open file, so this changes nothing for the supervisor.
        os.set_blocking(permits, False)
        self._any_input = _poll_of(permits, channel)
        self._channel_input = _poll_of(channel)
        self._permit_input = _poll_of(permits)
        os.register_at_fork(after_in_child=self._cut_off)

    def _cut_off(self) -> None:
        # A child that a job forks must never speak for the worker, nor take a permit.
        for fd in (self._channel, self._permits):
            if fd >= 0:
                os.close(fd)
        self._channel = self._permits = -1
        # A thread that is not here any more may have held it.
        self._writing = threading.RLock()

    @property
    def is_cut_off(self) -> bool:
        """Whether this is not the worker, but a process that a job has forked."""
        return self._channel < 0

    # --- booting ---

    def read_boot(self) -> bytes:
        """Return the body of the first frame, which is BOOT."""
        while not self._frames:
            self._receive(_read(self._channel, READ_BYTES))
        kind, body = self._frames.popleft()
        if kind != Kind.BOOT:
            raise ProtocolError(f"frame {kind} came before BOOT")
        return body

    def open(self) -> None:
        """Booted: obey what has come since, and whatever comes, from now on."""
        self._is_open = True
        self._obey_all()

    def send(self, frame: bytes) -> None:
        """Write one frame that is not of a job."""
        with self._writing:
            self._write_all([frame])

    def worn(self, reason: str) -> None:
        """Ask to be replaced, for this reason; to be called once the boot was told.

        ``next_job`` returns no other job: what still comes is handed back.
        """
        self._is_worn = True
        self.send(encode_worn(reason))

    # --- the next job ---

    def next_job(self, why_unfit: Callable[[Handed], str]) -> Handed | None:
        """Wait for a permit and return its job; None when the supervisor wants no more.

        ``why_unfit`` says why this worker should not run a job; then it asks to be replaced.
        """
        back: list[int] = []
        while True:
            permit = self._read_permit(back)
            handed = self._take(_TICKET.unpack(permit)[0]) if permit else None
            if handed is not None and self._goes_back(handed, why_unfit):
                back.append(handed.ticket)
                continue
            self._hand_back(back)
            if handed is not None:
                self._ticket = handed.ticket
            return handed

    def _goes_back(self, handed: Handed, why_unfit: Callable[[Handed], str]) -> bool:
        if self._is_suspended(handed):
            return True
        reason = why_unfit(handed)
        if reason:
            self.worn(reason)
        return bool(reason)

    def _is_suspended(self, handed: Handed) -> bool:
        if handed.ticket in self._held:
            self._held.discard(handed.ticket)
            return True
        return self._is_worn or handed.type in self._suspended

    def _hand_back(self, tickets: list[int]) -> None:
        if tickets:
            self.send(encode_handed_back(tickets))
            tickets.clear()

    def _read_permit(self, back: list[int]) -> bytes:
        """Wait for the next permit, after handing back what goes back, in one frame."""
        while True:
            try:
                return _read(self._permits, _TICKET.size)
            except BlockingIOError:
                self._hand_back(back)
                # Read the channel too: a frame larger than its buffer cannot wait in it, and its
                # permits come when all of it was sent.
                if self._is_reading:
                    self._permit_input.poll()
                elif any(fd == self._channel for fd, _ in self._any_input.poll()):
                    self._read_ready()

    def _read_ready(self) -> None:
        with self._arrival:
            if not self._is_reading and self._channel_input.poll(0):
                self._receive(_read(self._channel, READ_BYTES))
                self._arrival.notify_all()

    def _take(self, ticket: int) -> Handed:
        jobs = self._jobs
        while True:
            while jobs:
                handed = jobs.popleft()
                if handed.ticket == ticket:
                    return handed
                if handed.ticket > ticket:
                    raise ProtocolError(f"permit {ticket} came after job {handed.ticket}")
                # Its permit was revoked.
                self._held.discard(handed.ticket)
            self._wait_until(lambda: bool(jobs))

    def suspend(self, job_type: str) -> None:
        """A job of this type failed: give the others back until the supervisor has decided."""
        self._suspended.add(job_type)

    def _resume(self, job_type: str) -> None:
        if job_type in self._suspended:
            self._suspended.discard(job_type)
            self._held.update(job.ticket for job in self._jobs if job.type == job_type)

    # --- reading ---

    def _wait_until(self, is_met: Callable[[], bool]) -> None:
        with self._arrival:
            while not is_met():
                if self._is_reading:
                    self._arrival.wait()
                    continue
                self._is_reading = True
                self._arrival.release()
                try:
                    data = _read(self._channel, READ_BYTES)
                finally:
                    self._arrival.acquire()
                    self._is_reading = False
                self._receive(data)
                self._arrival.notify_all()

    def _receive(self, data: bytes) -> None:
        if not data:
            _exit(1)  # the supervisor is gone
        self._frames.extend(self._decoder.feed(data))
        if self._is_open:
            self._obey_all()

    def _obey_all(self) -> None:
        while self._frames:
            self._obey(*self._frames.popleft())

    def _obey(self, kind: int, body: bytes) -> None:
        match kind:
            case Kind.JOBS:
                self._jobs.extend(decode_jobs(body))
            case Kind.RESUME_TYPE:
                self._resume(decode_resume_type(body))
            case Kind.DEFINE:
                self._define(body)
            case Kind.ANSWER:
                _, call_id, answer = decode_answer(body)
                self._answers[call_id] = answer
            case _:
                raise ProtocolError(f"unexpected frame {kind}")

    # --- writing ---

    def finish(self, buffers: list[bytes]) -> None:
        """End the job that runs: from here on nobody may speak for it."""
        with self._writing:
            self._ticket = 0
            self._write_all(buffers)

    def _write_all(self, buffers: list[bytes]) -> None:
        if self.is_cut_off:
            # A child forked by an initializer came back from it.
            _exit(0)
        self._check_descriptors()
        self._is_writing = True
        try:
            if len(buffers) == 1:
                view = buffers[0]
                written = _write(self._channel, view)
                if written == len(view):
                    return
            else:
                written = _writev(self._channel, buffers)
            self._write_rest(buffers, written)
        except (BrokenPipeError, ConnectionResetError):
            _exit(1)  # the supervisor is gone
        finally:
            self._is_writing = False
            if self._deferred:
                number, self._deferred = self._deferred, 0
                _raise_signal(number)

    def defers(self, number: int) -> bool:
        """Whether a frame is being written, so that no handler may raise; then comes again."""
        if self._is_writing:
            self._deferred = number
        return self._is_writing

    def _check_descriptors(self) -> None:
        # User code has run: the number of a descriptor that it closed may be its own file by now.
        try:
            if (
                identity(self._channel) == self._channel_identity
                and identity(self._permits) == self._permits_identity
            ):
                return
        except OSError:
            pass
        _exit(DESCRIPTORS_CLOSED)

    def _write_rest(self, buffers: list[bytes], written: int) -> None:
        for buffer in buffers:
            view = memoryview(buffer)
            skipped = min(written, len(view))
            written -= skipped
            view = view[skipped:]
            while view:
                view = view[_write(self._channel, view) :]

    def log(self, ticket: int, level: int, text: str) -> None:
        """See ``knock.pool.job.Link``."""
        self._speak(ticket, [encode_log(ticket, monotonic_ns(), level, text)])

    def forward(self, level: int, text: str, origin: Origin) -> None:
        """Send a record as one of the job that runs now, or of none; see rule 4."""
        with self._writing:
            if not self._is_writing and not self.is_cut_off:
                self._write_all([encode_log(self._ticket, monotonic_ns(), level, text, origin)])

    def progress(self, ticket: int, done: float, total: float | None) -> None:
        """See ``knock.pool.job.Link``."""
        if self.is_cut_off:
            raise ForkedProcessError(_CANNOT_SPEAK)
        if ticket == self._ticket:
            # Each of them counts as a sign of life, told or not.
            self._ledger.progress(ticket)
        now = monotonic_ns()
        if now - self._progress_at >= PROGRESS_NS or done == total:
            self._progress_at = now
            self._speak(ticket, [encode_progress(ticket, done, total)])

    def call(self, ticket: int, verb: str, body: bytes) -> bytes:
        """See ``knock.pool.job.Link``."""
        with self._writing:
            self._calls += 1
            call_id = self._calls
        if not self._speak(ticket, encode_call(Call(ticket, call_id, verb, body))):
            raise QueueClosedError("the job that wants to ask its supervisor has ended")
        self._wait_until(lambda: call_id in self._answers)
        return self._answers.pop(call_id)

    def _speak(self, ticket: int, buffers: list[bytes]) -> bool:
        if self.is_cut_off:
            raise ForkedProcessError(_CANNOT_SPEAK)
        with self._writing:
            if ticket != self._ticket or self._is_writing:
                return False
            self._write_all(buffers)
            return True


def _poll_of(*fds: int) -> select.poll:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll


def leave(code: int) -> NoReturn:
    """End this process at once, without unwinding into what was forked along."""
    _exit(code)
