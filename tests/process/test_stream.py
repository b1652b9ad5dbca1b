"""Standard streams of the caller that are not what they should be: forked workers live with it."""

import pytest

from tests.witness import script

pytestmark = pytest.mark.process

CALLER = """
import os, sys
from tests.process import jobs
from tests.process.harness import Drive
out = os.fdopen(os.dup(1), "w")
class Sink:
    def write(self, text): return len(text)
class Full(Sink):
    def flush(self): raise OSError(28, "No space left on device")
{change}
drive = Drive(start_method="fork").start()
values = drive.values(drive.send((jobs.square, 3)))
drive.pool.stop_worker(0, 1)
print(values, drive.exit().death.exit_code, file=out, flush=True)
drive.close()
os._exit(0)
"""


@pytest.mark.parametrize(
    "change",
    [
        "sys.stdout = sys.stderr = None",
        "sys.stdout.close(); sys.stderr.close()",
        "os.close(2)",
        "sys.stdout = sys.stderr = Sink()",
        "sys.stdout = sys.stderr = Full()",
    ],
)
def test_a_forked_pool_works_whatever_the_standard_streams_are(change):
    with script("-c", CALLER.format(change=change)) as running:
        assert running.line() == "[9] 0"
