"""A worker without a pool: started, fed and heard by hand."""

import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from knock.core.events import AttemptEnded
from knock.core.handout import Dispatch
from knock.core.job import JobSpec
from knock.pool.definition import NO_LIMITS, ItemPickler, Processor, Style, dump_definitions
from knock.protocol.attempt import decode_failure, decode_result
from knock.protocol.frame import FrameDecoder
from knock.protocol.logline import decode_log
from knock.protocol.message import (
    FROM_WORKER,
    BootSettings,
    Kind,
    decode_boot_failed,
    decode_call,
    decode_handed_back,
    decode_progress,
    encode_boot,
    encode_define,
    encode_jobs,
    encode_resume_type,
)

LIMIT_SECONDS = 20.0
ROOT = str(Path(__file__).parents[2])
_BOOT = """
import sys
sys.path[:] = {path!r}
from knock.pool.worker import WorkerFds, worker_main
worker_main(WorkerFds(**{fds!r}), parent_pid={pid})
"""


def at(monotonic_ns: int) -> float:
    """The clock of these tests."""
    return monotonic_ns * 1e-9


_DECODERS: dict[Kind, Callable[[bytes], Any]] = {
    Kind.READY: lambda _: None,
    Kind.BOOT_FAILED: decode_boot_failed,
    Kind.RESULT: lambda body: decode_result(body, at),
    Kind.FAILURE: lambda body: decode_failure(body, at),
    Kind.HANDED_BACK: decode_handed_back,
    Kind.LOG: lambda body: decode_log(body, at),
    Kind.PROGRESS: decode_progress,
    Kind.CALL: decode_call,
}


class LocalWorker:
    """One worker process and the supervisor's ends of everything."""

    def __init__(self, definitions: bytes | None = None, **settings: Any) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(LIMIT_SECONDS)
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.permits_read, self.permits = os.pipe()
        self.ledger = os.memfd_create("ledger")
        os.ftruncate(self.ledger, 4096)
        self.scribble = os.memfd_create("scribble")
        dead_man, self.dead_man = os.pipe()
        fds = {
            "channel": theirs.fileno(),
            "permits": self.permits_read,
            "ledger": self.ledger,
            "scribble": self.scribble,
            "dead_man": dead_man,
        }
        path = [ROOT, *sys.path]
        code = _BOOT.format(path=path, fds=fds, pid=os.getpid())
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", code], pass_fds=list(fds.values()), stdout=subprocess.PIPE
        )
        theirs.close()
        os.close(dead_man)
        self._decoder = FrameDecoder(FROM_WORKER)
        self._frames: list[tuple[int, bytes]] = []
        self._ticket = 0
        boot = BootSettings(**{"sys_path": tuple(path), **settings})
        self.send(*encode_boot(boot, dump_definitions() if definitions is None else definitions))

    def send(self, *buffers: bytes) -> None:
        for buffer in buffers:
            self.channel.sendall(buffer)

    def define(self, *blobs: bytes) -> None:
        for blob in blobs:
            self.send(*encode_define(blob))

    def hand(
        self, job_type: str, payload: bytes, *, attempt: int = 1, is_guarded: bool = True
    ) -> int:
        """Send a job, give no permit yet, return its ticket."""
        self._ticket += 1
        job = JobSpec(self._ticket + 1000, job_type, payload, 1, 0.0, 12.5)
        self.send(*encode_jobs([Dispatch(self._ticket, job, attempt, is_guarded)]))
        return self._ticket

    def permit(self, *tickets: int) -> None:
        os.write(self.permits, b"".join(struct.pack("<Q", ticket) for ticket in tickets))

    def resume(self, job_type: str) -> None:
        self.send(encode_resume_type(job_type))

    def frame(self) -> tuple[int, bytes]:
        while not self._frames:
            data = self.channel.recv(1 << 20)
            if not data:
                raise EOFError("the worker closed its channel")
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def read_some(self) -> None:
        """Make room in the channel; what comes is kept for ``hear``."""
        self._frames += self._decoder.feed(self.channel.recv(1 << 16))

    def hear(self) -> Any:
        """Return the next message, decoded; None for READY."""
        kind, body = self.frame()
        return _DECODERS[Kind(kind)](body)

    def ready(self) -> "LocalWorker":
        message = self.hear()
        assert message is None, message
        return self

    def run(self, job_type: str, data: object, pickler: ItemPickler | None = None) -> AttemptEnded:
        """Run one job and return how it ended."""
        pickler = pickler or ItemPickler()
        payload = pickler.dumps(data)
        self.define(*pickler.take_definitions())
        self.resume(job_type)
        self.permit(self.hand(job_type, payload))
        ended = self.hear()
        assert isinstance(ended, AttemptEnded), ended
        assert ended.ticket == self._ticket
        return ended

    def value(self, job_type: str, data: object, pickler: ItemPickler | None = None) -> Any:
        """Run one job and return its value."""
        ended = self.run(job_type, data, pickler)
        assert ended.error is None, ended.error.traceback
        assert ended.result is not None
        return pickle.loads(ended.result)

    def said(self) -> str:
        """What the worker wrote to its scribble file."""
        return os.pread(self.scribble, 1 << 20, 0).decode()

    def end(self) -> int:
        """End the permits; return the exit code."""
        os.close(self.permits)
        self.permits = -1
        return self.process.wait(LIMIT_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.channel.close()
        for fd in (self.permits_read, self.permits, self.ledger, self.scribble, self.dead_man):
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> "LocalWorker":
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def run_one(fn: Any, data: object, **options: Any) -> AttemptEnded:
    """Run one job in a worker of its own."""
    with LocalWorker(definitions_of(fn, **options)) as worker:
        return worker.ready().run("job", data)


def definitions_of(fn: Any, **options: Any) -> bytes:
    """The definitions of one processor, for the job type "job"."""
    retry_on = options.pop("retry_on", None)
    style = options.pop("style", Style.ITEM)
    limits = options.pop("limits", NO_LIMITS)
    processors = {"job": Processor(fn, style, retry_on, limits)}
    return dump_definitions(processors=processors, **options)


def wait_for(is_met: Any) -> None:
    """Wait for a fact that nobody tells."""
    limit = time.monotonic() + LIMIT_SECONDS
    while not is_met():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.002)
