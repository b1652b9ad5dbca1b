"""A deadline may be farther away than the kernel can wait for at once."""

import pytest

from knock.run import run_pool
from tests.process import jobs

pytestmark = [pytest.mark.process, pytest.mark.platform]

# More than 2**31 milliseconds, which is all that epoll takes.
FOUR_WEEKS = 28 * 86_400.0


def test_a_time_limit_of_weeks_is_kept_in_mind_and_harms_nobody():
    report = run_pool(jobs.square, [2], workers=1, timeout=FOUR_WEEKS, progress=False)
    assert report.results == [4]
