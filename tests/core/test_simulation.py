"""Random schedules of everything that can happen to a pool; see ``world.py``.

A failing seed prints itself. To see it again: ``World(seed).run(STEPS)``.
"""

import pytest

from tests.core.world import simulate

STEPS = 2_000
GROUPS = 40
# Some seeds end early: their pool is stopped, or gives up.
STEPS_OF_GROUP = 25_000


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_order_of_events_breaks_the_machine(group):
    steps, seed = 0, group * 1_000
    while steps < STEPS_OF_GROUP:
        steps += simulate(seed, STEPS)
        seed += 1
