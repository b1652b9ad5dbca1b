"""A Ctrl-C that comes in the middle of knock's own code loses nothing."""

import logging
import signal
import sys

import psutil
import pytest

from knock.errors import PoolInterrupted
from knock.run import _DEFAULTS, run_pool
from knock.run.batch import Batch
from knock.run.options import check_options
from knock.run.progress import Silence
from knock.supervisor.interrupt import Shield
from tests.run import jobs

pytestmark = pytest.mark.process

OPTIONS = _DEFAULTS | {"workers": 1, "progress": False}


class Pressed(Shield):
    """A shield that each time hides a Ctrl-C until it opens."""

    def open(self):
        super().open()
        raise KeyboardInterrupt


def test_what_was_received_meanwhile_is_kept():
    shield = Shield()
    batch = Batch(jobs.square, (range(1, 4),), check_options(**OPTIONS), shield)
    try:
        batch.start()
        while not batch.feed.is_over:
            batch.pull(10)
        batch.shield = Pressed()
        while len(batch.endings) < 3:
            with pytest.raises(KeyboardInterrupt):
                batch.gather(wait=False)
        assert [index for index, *_ in batch.endings] == [0, 1, 2]
    finally:
        batch.shield = shield
        batch.close()


def test_one_that_comes_when_all_is_done_keeps_the_report():
    class Last(logging.Handler):
        """Presses it at the last moment: the report is made, and says that a job died."""

        def emit(self, record):
            signal.raise_signal(signal.SIGINT)

    logger, handler = logging.getLogger("knock.run"), Last()
    logger.addHandler(handler)
    try:
        with pytest.raises(PoolInterrupted) as raised:
            run_pool(jobs.pick, [1, -1, 2], progress=False, workers=1)
    finally:
        logger.removeHandler(handler)
    assert raised.value.report.values() == [1, None, 2]


def test_each_item_that_was_pulled_is_named_after_an_input_was_interrupted():
    def items():
        yield from range(3)
        raise KeyboardInterrupt

    with pytest.raises(PoolInterrupted) as raised:
        run_pool(jobs.square, items(), progress=False, workers=1)
    assert [o.item for o in raised.value.report.outcomes] == [0, 1, 2]
    assert raised.value.report.facts.stopped_by == "interrupted"


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_an_interrupt_that_nobody_can_be_told_of_still_has_its_report(
    monkeypatch, witness, gate, error
):
    class Broken:
        """Standard error on a full disk, or closed."""

        def write(self, text):
            gate.open()
            raise error

    def items():
        yield witness, gate, 1
        witness.wait(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Broken())
    with pytest.raises(PoolInterrupted) as raised:
        run_pool(jobs.wait_in, items(), progress=False, workers=1)
    assert raised.value.report.values() == [1]


@pytest.mark.parametrize("place", ["thread", "process"])
def test_a_display_that_cannot_be_closed_leaves_no_pool(place):
    class Stuck(Silence):
        def close(self):
            raise RuntimeError("stuck")

    options = check_options(**(OPTIONS | {"supervisor": place}))
    batch = Batch(jobs.square, ([],), options, Shield())
    batch.start()
    batch.display = Stuck()
    with pytest.raises(RuntimeError, match="stuck"):
        batch.close()
    assert not psutil.Process().children(recursive=True)
