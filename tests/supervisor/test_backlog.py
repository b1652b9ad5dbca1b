"""Log entries that wait for their caller: bounded, and what is left out is counted."""

import pytest

from knock.protocol.logline import LogLine
from knock.storage.memory import InMemoryStorage
from knock.supervisor.backlog import MAX_CHARACTERS, MAX_ENTRIES, Backlog
from knock.supervisor.messages import Ended, LogEntry, Logged
from knock.supervisor.outage import Outage
from knock.supervisor.publisher import Publisher
from knock.supervisor.reception import Reception


def an_entry(text="hello", number=0):
    return LogEntry(LogLine(number, 0.0, 20, text), 42, 1, "do", 1)


class SlowMailbox:
    """A mailbox of which the caller takes nothing while ``wants_write``."""

    def __init__(self):
        self.wants_write = True
        self.told = []

    def put(self, messages):
        self.told += messages


@pytest.mark.parametrize("size, kept", [(1, MAX_ENTRIES), (1 << 16, MAX_CHARACTERS >> 16)])
def test_no_more_than_the_limit_waits(size, kept):
    backlog = Backlog()
    for _ in range(kept + 7):
        backlog.add(an_entry("x" * size))
    logged = backlog.take()
    assert (len(logged.entries), logged.dropped) == (kept, 7)
    assert not backlog
    backlog.add(an_entry())
    assert backlog.take() == Logged([an_entry()], 0)


def test_a_supervisor_keeps_the_log_while_its_caller_does_not_read():
    mailbox = SlowMailbox()
    publisher = Publisher(InMemoryStorage(), mailbox, Outage())
    for number in range(MAX_ENTRIES + 5):
        publisher.logged(an_entry(number=number))
        publisher.flush(0.0)
    assert mailbox.told == []
    mailbox.wants_write = False
    publisher.flush(0.0)
    [logged] = mailbox.told
    assert [entry.line.ticket for entry in logged.entries] == list(range(MAX_ENTRIES))
    assert logged.dropped == 5


def test_the_end_takes_what_waits_along():
    mailbox = SlowMailbox()
    publisher = Publisher(InMemoryStorage(), mailbox, Outage())
    publisher.logged(an_entry())
    publisher.flush(0.0, is_last=True)
    assert mailbox.told == [Logged([an_entry()], 0)]


def test_a_caller_that_takes_nothing_is_told_how_much_was_dropped():
    reception = Reception()
    for _ in range(3):
        reception.deliver([Logged([an_entry()] * MAX_ENTRIES, 1)])
    last = Ended(facts=None, stats=None)
    reception.deliver([last])
    assert reception.receive(0.0) == [
        Logged([an_entry()] * MAX_ENTRIES, 2 * MAX_ENTRIES + 3),
        last,
    ]
    assert reception.receive(0.0) == []
