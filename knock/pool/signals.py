"""The signals that a supervisor sends to its workers.

Real-time signals where there are any: no library and hardly a job uses those near the end of their
range.
"""

import signal
from typing import Final

_LAST: Final[int | None] = getattr(signal, "SIGRTMAX", None)

# The worker writes the stacks of all its threads to its scribble file, even while C code holds the
# GIL.
STACK_SIGNAL: Final[int] = int(signal.SIGUSR2) if _LAST is None else _LAST - 2
# The job that runs is over its soft limit.
SOFT_SIGNAL: Final[int] = int(signal.SIGUSR1) if _LAST is None else _LAST - 3
