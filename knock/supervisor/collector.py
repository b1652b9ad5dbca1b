"""The garbage collector, out of the way of large pickles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Let no cycle be looked for meanwhile.

    Millions of new objects, none of them garbage, make it look through all of them again and
    again: it took half of the time of pickling a large storage, and three quarters of loading it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
