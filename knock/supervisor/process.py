"""A supervisor in a process of its own.

Its caller may be stuck in C code with the GIL held, and dispatch and limits go on. The process is
the caller's child, in a session of its own; it loads neither the caller's ``__main__`` nor
unpickles what jobs produce. The other side of the socket is trusted: parent and own child.
"""

import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from knock.errors import ConfigError, ProtocolError, QueueClosedError, SupervisorLostError
from knock.pool.channel import Channel, channel_pair
from knock.pool.descriptor import keep_private
from knock.pool.interpreter import interpreter_command
from knock.pool.link import leave
from knock.protocol.frame import FrameDecoder, encode_frame
from knock.storage.base import Storage
from knock.storage.memory import InMemoryStorage
from knock.supervisor.client import SupervisorClient
from knock.supervisor.collector import without_collector
from knock.supervisor.loop import Supervisor
from knock.supervisor.messages import Ended, Failed, Inbound, Outbound
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.reception import Reception

_MESSAGES = 1
_LENGTH = struct.Struct("<Q")
_READ_BYTES = 1 << 18
_LEAVE_SECONDS = 15.0
# They are for the caller, who decides what becomes of the jobs.
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


# --- in the process -------------------------------------------------------------------------------


class PipeMailbox:
    """See ``Mailbox``: the end of a socket."""

    def __init__(self, channel: Channel, storage: Storage) -> None:
        self._channel = channel
        self._storage = storage
        self.is_cut = False

    def fileno(self) -> int:
        """See ``Mailbox``."""
        return self._channel.fileno()

    def sleep(self) -> bool:
        """See ``Mailbox``."""
        return True

    def take(self) -> list[Inbound]:
        """See ``Mailbox``."""
        messages: list[Inbound] = []
        for _, body in self._channel.receive():
            messages.extend(pickle.loads(body))
        if self._channel.violation is not None:
            raise ProtocolError(f"the caller cannot be understood: {self._channel.violation}")
        self.is_cut = self._channel.is_ended
        return messages

    def put(self, messages: Sequence[Outbound]) -> None:
        """See ``Mailbox``."""
        for message in messages:
            if isinstance(message, Ended):
                message.storage = _pickled_storage(self._storage)
        self._channel.send([encode_frame(_MESSAGES, pickle.dumps(messages, 5))])

    def flush(self) -> None:
        """Send what waits, now that the socket takes more."""
        self._channel.flush()

    @property
    def wants_write(self) -> bool:
        """Whether something waits."""
        return self._channel.wants_write

    def close(self) -> None:
        """See ``Mailbox``; waits until the caller has what was put, or is gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_WRITE)
            while self._channel.wants_write:
                selector.select()
                self._channel.flush()
        self._channel.close()


def _pickled_storage(storage: Storage) -> bytes:
    with without_collector():
        return pickle.dumps(storage, 5)


def supervisor_main(fd: int) -> NoReturn:
    """Be a supervisor process on this end of a socket; never returns."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    peer = socket.socket(fileno=fd)
    (length,) = _LENGTH.unpack(_receive_exactly(peer, _LENGTH.size))
    sys_path, blob = pickle.loads(_receive_exactly(peer, length))
    # A storage of somebody else is imported from where the caller finds it.
    sys.path[:] = sys_path
    channel = Channel(peer, (_MESSAGES,))
    try:
        with without_collector():
            options, storage = pickle.loads(blob)
    except Exception as exc:  # noqa: BLE001 - user code
        mailbox = PipeMailbox(channel, InMemoryStorage())
        error = ConfigError(
            f"the storage cannot be loaded in a supervisor process ({type(exc).__name__}: {exc}); "
            "give its URL, or supervisor='thread'"
        )
        mailbox.put([Failed(error)])
        mailbox.close()
        leave(1)
    Supervisor(options, storage, PipeMailbox(channel, storage)).run()
    leave(0)


def _receive_exactly(peer: socket.socket, length: int) -> bytes:
    # Not a byte more: what follows is the mailbox's.
    parts: list[bytes] = []
    while length:
        data = peer.recv(min(length, _READ_BYTES))
        if not data:
            leave(0)
        parts.append(data)
        length -= len(data)
    return b"".join(parts)


# --- in the caller --------------------------------------------------------------------------------


class _PipeLine:
    """See ``Line``. A thread reads; whoever posts writes, one at a time."""

    def __init__(
        self, peer: socket.socket, process: "subprocess.Popen[bytes]", reception: Reception
    ) -> None:
        self._socket = peer
        self._process = process
        self._reception = reception
        # Reentrant: a signal handler that posts in the middle of a frame completes that first.
        self._writing = threading.RLock()
        # A frame, and how many bytes of it each call has sent.
        self._under_way: tuple[memoryview, list[int]] = (memoryview(b""), [])
        self._is_cut = False
        self._reader = threading.Thread(target=self._read, name="knock-mailbox", daemon=True)
        self._reader.start()

    def post(self, message: Inbound) -> None:
        """See ``Line``."""
        data = encode_frame(_MESSAGES, pickle.dumps([message], 5))
        with self._writing:
            try:
                self._send_rest()
                self._under_way = (memoryview(data), [])
                self._send_rest()
            except OSError as exc:
                raise self._reception.failure or SupervisorLostError(
                    f"the supervisor process {self._process.pid} is gone"
                ) from exc

    def _send_rest(self) -> None:
        # The exception of a signal may come between any two steps of Python, and half a frame must
        # be completed by whoever posts next: what was sent is noted in one step with the sending,
        # by ``extend`` and ``map``, which run no Python in between.
        frame, sent = self._under_way
        while (position := sum(sent)) < len(frame):
            sent.extend(map(self._socket.send, (frame[position:],)))

    def _read(self) -> None:
        try:
            self._deliver_all()
        except Exception as exc:  # noqa: BLE001 - whatever it is, who waits must hear of it
            self._reception.fail(
                SupervisorLostError(f"the supervisor cannot be understood: {exc!r}")
            )
            return
        # Whoever posts is out of the socket by now, or soon: nobody reads at the other end.
        with self._writing:
            self._socket.close()
        if self._reception.ended is None:
            code = self._process.wait()
            self._reception.fail(
                QueueClosedError("the supervisor was closed")
                if self._is_cut
                else SupervisorLostError(f"the supervisor process died: {_how(code)}")
            )

    def _deliver_all(self) -> None:
        decoder = FrameDecoder((_MESSAGES,))
        while data := self._receive():
            for _, body in decoder.feed(data):
                self._reception.deliver(pickle.loads(body))
            if decoder.failure is not None:
                raise ProtocolError(decoder.failure)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(_READ_BYTES)
        except OSError:
            return b""

    def cut(self) -> None:
        """See ``Line``."""
        self._is_cut = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """See ``Line``."""
        self.cut()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader is not threading.current_thread():
            self._reader.join()
        with self._writing:
            self._socket.close()


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def start_in_process(options: SupervisorOptions, storage: Storage) -> SupervisorClient:
    """Start a supervisor in a process of its own; see ``Starter``.

    Raises:
        ConfigError: The storage cannot be pickled.
    """
    if type(storage).__module__ == "__main__" or not hasattr(storage, "__dict__"):
        raise ConfigError(
            f"a {type(storage).__qualname__} of this script, or without a __dict__, cannot be "
            "sent to a supervisor process and back: give its URL, or supervisor='thread'"
        )
    try:
        with without_collector():
            blob = pickle.dumps((options, storage), 5)
    except Exception as exc:  # user code
        raise ConfigError(
            f"the storage cannot be sent to a supervisor process ({exc}); "
            "give its URL, or supervisor='thread'"
        ) from exc
    mine, theirs = channel_pair()
    keep_private(mine)
    fd = theirs.fileno()
    code = f"from knock.supervisor.process import supervisor_main; supervisor_main({fd})"
    process = subprocess.Popen(
        interpreter_command(code),
        stdin=subprocess.DEVNULL,
        pass_fds=(fd,),
        start_new_session=True,
    )
    theirs.close()
    reception = Reception()
    line = _PipeLine(mine, process, reception)
    start = pickle.dumps((sys.path, blob), 5)
    mine.sendall(_LENGTH.pack(len(start)) + start)
    return SupervisorClient(
        reception, line, is_bounded=options.outbox_limit is not None, pid=process.pid
    )
