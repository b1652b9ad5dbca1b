"""Starting a supervisor where it is wanted."""

import os
import pickle

from knock.pool.mechanism import check_masked, check_needed
from knock.storage.base import Storage
from knock.supervisor.client import Place, Starter, SupervisorClient
from knock.supervisor.collector import without_collector
from knock.supervisor.options import SupervisorOptions
from knock.supervisor.process import start_in_process
from knock.supervisor.thread import start_in_thread


def start_supervisor(
    options: SupervisorOptions, storage: Storage, place: Place
) -> SupervisorClient:
    """Start a supervisor in a thread of this process or in a process of its own.

    In a thread it uses ``storage`` itself, and nobody else may until it has ended. In a process it
    uses a copy, which comes back with ``Ended``.

    Raises:
        ConfigError: The storage cannot be sent to another process, or ``KNOCK_DISABLE`` names
            something unknown.
        UnsupportedPlatformError: The system lacks what knock needs.
        WorkerBootError: The process cannot be started.
    """
    check_needed()
    check_masked()
    _occupy_standard_streams()
    starter: Starter = start_in_thread if place == "thread" else start_in_process
    return starter(options, storage)


def take_back(storage: Storage, returned: bytes | None) -> None:
    """Put into ``storage`` what came back with ``Ended``, if it was another process that used it.

    Whoever made the storage holds it still, and finds there what became of its jobs.
    """
    if returned is not None:
        with without_collector():
            vars(storage).update(vars(pickle.loads(returned)))


def _occupy_standard_streams() -> None:
    """Open ``/dev/null`` for those of 0 to 2 that are closed, as after ``2>&-``.

    A socket would get such a number, and whatever is written to standard error would go into it.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number, which is this one; inherited by all that is started.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
