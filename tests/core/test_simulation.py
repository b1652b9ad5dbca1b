"""Random schedules of everything that can happen to a pool; see ``world.py``.

A million steps in all. A failing seed prints itself; to see it again: ``World(seed).run(STEPS)``.
"""

import pytest

from tests.core.world import simulate

STEPS = 2_000
GROUPS = 40
# Some seeds end early: their pool is stopped, or gives up.
STEPS_OF_GROUP = 25_000
# Enough while editing.
FAST_GROUPS = 2


def a_group(group):
    return pytest.param(group, marks=[pytest.mark.slow] if group >= FAST_GROUPS else [])


@pytest.mark.parametrize("group", [a_group(group) for group in range(GROUPS)])
def test_no_order_of_events_breaks_the_machine(group):
    steps, seed = 0, group * 1_000
    while steps < STEPS_OF_GROUP:
        steps += simulate(seed, STEPS)
        seed += 1
