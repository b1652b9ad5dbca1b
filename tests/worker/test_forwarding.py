"""Records on their way out of a worker."""

import logging
import os
import pickle
import signal
import socket

import pytest

from knock.pool.definition import Processor, Style, dump_definitions
from knock.pool.forwarding import levels_here
from knock.protocol.logline import LogLine
from tests.worker import logjobs as jobs
from tests.worker.harness import LocalWorker

ALL = (("", 1),)


@pytest.mark.process
@pytest.mark.parametrize("has_thread", [False, True])
def test_a_record_in_the_middle_of_a_result_is_dropped_and_tears_nothing(witness, has_thread):
    processors = {
        "large": Processor(jobs.be_large_and_log_on_signals, Style.ITEM),
        "square": Processor(jobs.square, Style.ITEM),
    }
    with LocalWorker(dump_definitions(processors=processors), log_levels=ALL) as worker:
        worker.ready()
        worker.permit(worker.hand("large", pickle.dumps((witness, 16 << 20, has_thread))))
        # It is in the middle of its result now, which is larger than what the socket takes.
        assert worker.channel.recv(1, socket.MSG_PEEK)
        for number in range(1, 21):
            os.kill(worker.process.pid, signal.SIGUSR1)
            witness.wait(number)
            worker.read_some()
        # A thread of the job has logged before the result, and waits to log more.
        told = iter(worker.hear, None)
        ended = next(one for one in told if not isinstance(one, LogLine))
        assert pickle.loads(ended.result) == bytes(16 << 20)
        worker.permit(worker.hand("square", pickle.dumps(3)))
        ended = next(one for one in told if not isinstance(one, LogLine))
        assert pickle.loads(ended.result) == 9


@pytest.mark.process
def test_what_a_worker_logs_between_jobs_is_of_none():
    definitions = dump_definitions(jobs.log_from_a_thread_on)
    with LocalWorker(definitions, log_levels=ALL) as worker:
        line = worker.hear()
        assert isinstance(line, LogLine)
        assert (line.ticket, line.text, line.origin.thread) == (0, "on and on", "talker")


def test_levels_are_those_of_the_root_and_of_loggers_that_have_one(caplog):
    caplog.set_level(logging.ERROR)
    caplog.set_level(logging.DEBUG, "a.b")
    logging.getLogger("a.b.c")
    levels = dict(levels_here())
    assert (levels[""], levels["a.b"]) == (logging.ERROR, logging.DEBUG)
    assert "a.b.c" not in levels
    logging.disable(logging.WARNING)
    try:
        assert dict(levels_here())["a.b"] == logging.WARNING + 1
    finally:
        logging.disable(logging.NOTSET)
