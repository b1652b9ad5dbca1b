"""Stories of boots that fail: for want of something, or because they always will."""

from random import Random

import pytest

from knock.core import commands as cmd, events as ev
from knock.core.job import Death
from knock.core.machine import Machine

BAD = Death(exit_code=1, cause="exited with code 1 without a result")
NO_PROCESS = Death(cause="cannot fork: Resource temporarily unavailable", is_infrastructure=True)


class Birth:
    """A machine whose workers all boot."""

    def __init__(self, workers):
        self.now = 100.0
        self.generations = [0] * workers
        self.machine = Machine(workers=workers, rng=Random(1))
        self.obey(self.machine.start(self.now))

    def obey(self, commands):
        for command in commands:
            if isinstance(command, cmd.StartWorker):
                self.generations[command.worker] = command.generation
        return commands

    def tell(self, event):
        return self.obey(self.machine.handle(event, self.now))

    def fails(self, worker, death):
        """A boot fails; return the orders but for the notice."""
        told = self.tell(ev.WorkerExited(worker, self.generations[worker], death))
        return [command for command in told if not isinstance(command, cmd.Publish)]

    def is_ready(self, worker):
        return self.tell(ev.WorkerReady(worker, self.generations[worker], 1000 + worker))

    def wait(self):
        """Go to the next deadline; return how long it took."""
        before, self.now = self.now, self.machine.next_deadline()
        self.tell(ev.TimePassed())
        return self.now - before


def test_one_cause_that_strikes_many_boots_is_waited_out():
    birth = Birth(4)
    for worker in range(4):
        assert birth.fails(worker, NO_PROCESS) == []
    assert birth.wait() == pytest.approx(0.1)
    assert birth.generations == [2] * 4
    assert birth.is_ready(0)
    assert not birth.machine.is_ended


def test_pool_gives_up_when_nothing_could_be_started_for_long():
    birth = Birth(2)
    delays, orders = [], []
    while not orders:
        orders = birth.fails(0, NO_PROCESS) or birth.fails(1, NO_PROCESS)
        if not orders:
            delays.append(birth.wait())
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0])
    detail = f"no worker could be started for 31 s: {NO_PROCESS.cause}"
    assert orders == [cmd.FailPool(detail)]
    assert birth.machine.is_ended


@pytest.mark.parametrize("is_ready", [True, False])
def test_pool_never_gives_up_while_another_worker_boots_or_is_ready(is_ready):
    birth = Birth(2)
    if is_ready:
        birth.is_ready(1)
    for _ in range(30):
        assert birth.fails(0, NO_PROCESS) == []
        assert birth.wait() < 5.1
    assert birth.now > 200.0
    assert birth.fails(0, NO_PROCESS) == []
    # The time for which a worker was ready does not count when it is gone.
    orders = birth.fails(1, NO_PROCESS)
    assert any(isinstance(order, cmd.FailPool) for order in orders) is not is_ready


def test_bad_initializer_fails_fast_but_not_before_every_worker_has_tried():
    birth = Birth(5)
    for worker in range(4):
        assert birth.fails(worker, BAD) == []
    assert birth.fails(4, BAD) == [cmd.FailPool(BAD.cause)]


def test_slow_first_boot_is_waited_for_and_saves_the_pool():
    birth = Birth(2)
    for _ in range(6):
        assert birth.fails(0, BAD) == []
        birth.wait()
    assert birth.is_ready(1)
    assert not birth.machine.is_ended


def test_worker_that_boots_again_after_a_failure_is_no_hope():
    birth = Birth(2)
    birth.fails(0, BAD)
    birth.fails(1, BAD)
    birth.wait()
    assert birth.fails(0, BAD) == [cmd.FailPool(BAD.cause)]


def test_births_that_fail_for_want_of_something_do_not_save_a_bad_initializer():
    birth = Birth(1)
    for death in (BAD, NO_PROCESS, BAD, NO_PROCESS):
        assert birth.fails(0, death) == []
        birth.wait()
    assert birth.fails(0, BAD) == [cmd.FailPool(BAD.cause)]


def test_initializer_that_has_worked_is_waited_for():
    birth = Birth(1)
    birth.is_ready(0)
    birth.tell(ev.WorkerExited(0, 1, BAD))
    delays, orders = [], []
    while not orders:
        orders = birth.fails(0, BAD)
        if not orders:
            delays.append(birth.wait())
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0])
    assert orders == [cmd.FailPool(BAD.cause)]


def test_time_for_which_a_worker_was_ready_does_not_count_against_an_initializer():
    birth = Birth(2)
    birth.is_ready(1)
    for _ in range(30):
        assert birth.fails(0, BAD) == []
        birth.wait()
    assert birth.now > 200.0
    birth.tell(ev.WorkerExited(1, 1, BAD))
    assert birth.fails(0, BAD) == []
    birth.wait()
    assert birth.fails(1, BAD) == []
    assert not birth.machine.is_ended
