"""A warning comes at a moment when it breaks nothing."""

import os
import pickle
import sys
import time
from pathlib import Path

import pytest

from knock.errors import SoftTimeoutError
from knock.pool.definition import ItemPickler, Limits
from knock.pool.job import call_supervisor
from knock.pool.signals import SOFT_SIGNAL
from knock.protocol.message import Call
from tests.worker.harness import LocalWorker, definitions_of, wait_for

pytestmark = pytest.mark.process

LIMIT = 0.001
# More than the channel holds.
BODY_BYTES = 16 << 20
# ``write`` and ``writev``, on x86-64 and of the generic table.
WRITES = {"1", "20", "64", "66"}


def ask(_: object) -> str:
    try:
        call_supervisor("add", bytes(BODY_BYTES))
    except SoftTimeoutError:
        return "warned"
    return "answered"


def is_in_a_write(pid: int) -> bool:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] in WRITES


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_warning_in_the_middle_of_a_frame_comes_after_it() -> None:
    blob = definitions_of(ask, limits=Limits(soft_timeout=LIMIT))
    with LocalWorker(blob) as worker:
        worker.ready()
        worker.permit(worker.hand("job", ItemPickler().dumps(None)))
        # Nobody reads: the channel is full, and the worker waits with a part of a frame.
        wait_for(lambda: is_in_a_write(worker.process.pid))
        time.sleep(2 * LIMIT)  # a warning before that would be none
        os.kill(worker.process.pid, SOFT_SIGNAL)
        call = worker.hear()
        assert isinstance(call, Call)
        assert len(call.body) == BODY_BYTES
        ended = worker.hear()
        assert pickle.loads(ended.result) == "warned"
