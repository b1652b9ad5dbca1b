"""A supervisor on a thread of the calling process."""

import os
import threading
from collections import deque
from collections.abc import Sequence

from knock.errors import QueueClosedError, SupervisorLostError
from knock.pool.descriptor import Descriptor, keep_private
from knock.storage.base import Storage
from knock.supervisor.client import SupervisorClient
from knock.supervisor.loop import Supervisor
from knock.supervisor.messages import Enqueue, Inbound, Outbound
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.reception import Reception

# Jobs that may wait to be taken by the supervisor; beyond that, adding more waits.
MAILBOX_JOBS = 10_000


class ThreadMailbox:
    """See ``Mailbox`` and ``Line``: the supervisor's thread takes, any other posts."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._inbound: deque[Inbound] = deque()
        self._wake = keep_private(Descriptor(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)))
        self._room = threading.Condition()
        self._waiting_jobs = 0
        self._is_asleep = False
        self._is_closed = False
        self.is_cut = False

    # --- the supervisor's side ---

    def fileno(self) -> int:
        """See ``Mailbox``."""
        return self._wake.fileno()

    def sleep(self) -> bool:
        """See ``Mailbox``."""
        # First the flag, then the look: who posts does it the other way round.
        self._is_asleep = True
        return not self._inbound and not self.is_cut

    def take(self) -> list[Inbound]:
        """See ``Mailbox``."""
        self._is_asleep = False
        try:
            os.eventfd_read(self._wake.fd)
        except BlockingIOError:
            pass
        if not self._inbound:
            return []
        with self._room:
            messages = list(self._inbound)
            self._inbound.clear()
            self._waiting_jobs = 0
            self._room.notify_all()
        return messages

    def put(self, messages: Sequence[Outbound]) -> None:
        """See ``Mailbox``."""
        self._reception.deliver(messages)

    @property
    def wants_write(self) -> bool:
        """See ``Mailbox``: never, delivering is at once."""
        return False

    def flush(self) -> None:
        """See ``Mailbox``."""

    def close(self) -> None:
        """See ``Mailbox``."""
        with self._room:
            self._is_closed = True
            self._room.notify_all()
            self._wake.close()

    # --- the callers' side ---

    def post(self, message: Inbound) -> None:
        """See ``Line``."""
        with self._room:
            if isinstance(message, Enqueue):
                while self._waiting_jobs >= MAILBOX_JOBS and not self._is_closed:
                    self._room.wait()
                self._waiting_jobs += len(message.jobs)
            if self._is_closed:
                raise self._reception.failure or QueueClosedError("the supervisor has stopped")
            self._inbound.append(message)
            # The flag is the supervisor's: if it were cleared here, a signal's exception before the
            # writing would leave it asleep for ever.
            if self._is_asleep:
                os.eventfd_write(self._wake.fd, 1)

    def cut(self) -> None:
        """See ``Line``."""
        with self._room:
            self.is_cut = True
            if not self._is_closed:
                os.eventfd_write(self._wake.fd, 1)


class _ThreadLine:
    def __init__(self, mailbox: ThreadMailbox, thread: threading.Thread) -> None:
        self._mailbox = mailbox
        self._thread = thread
        self.post = mailbox.post
        self.cut = mailbox.cut

    def close(self) -> None:
        self._mailbox.cut()
        if self._thread is not threading.current_thread():
            self._thread.join()


def start_in_thread(options: SupervisorOptions, storage: Storage) -> SupervisorClient:
    """Start a supervisor on a thread of this process; see ``Starter``."""
    reception = Reception()
    mailbox = ThreadMailbox(reception)
    supervisor = Supervisor(options, storage, mailbox)
    thread = threading.Thread(
        target=_serve, args=(supervisor, mailbox, reception), name="knock-supervisor", daemon=True
    )
    thread.start()
    return SupervisorClient(
        reception, _ThreadLine(mailbox, thread), is_bounded=options.outbox_limit is not None
    )


def _serve(supervisor: Supervisor, mailbox: ThreadMailbox, reception: Reception) -> None:
    try:
        supervisor.run()
    except Exception as exc:  # noqa: BLE001 - it could not say its last word: a bug, as in a process
        reception.fail(SupervisorLostError(f"the supervisor's thread died: {exc!r}"))
        mailbox.close()
