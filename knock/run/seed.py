"""The same random numbers for the same item, whatever worker runs it."""

import hashlib
import importlib
import random
import sys
from collections.abc import Callable
from typing import Any

from knock.pool.job import current_job

_SEED_BYTES = 16


class Seeded:
    """Calls ``fn`` with ``random`` and ``numpy.random`` seeded from ``seed`` and the item's index.

    ``first_id`` is the id of the job with index 0. A retry draws the same numbers again.
    """

    def __init__(self, fn: Callable[..., Any], seed: int, first_id: int) -> None:
        self._fn = fn
        self._seed = seed
        self._first_id = first_id

    def __call__(self, *args: Any) -> Any:
        """Seed, then call."""
        job = current_job()
        if job is not None:
            self._seed_all(job.id - self._first_id)
        return self._fn(*args)

    def _seed_all(self, index: int) -> None:
        # Hashed, so that neighbouring seeds and indices have nothing in common.
        text = f"{self._seed}:{index}".encode()
        digest = hashlib.blake2b(text, digest_size=_SEED_BYTES).digest()
        random.seed(digest)
        if "numpy" in sys.modules:
            # numpy loads it when it is first used: unseeded, were it left to the job.
            numpy_random = importlib.import_module("numpy.random")
            words = [int.from_bytes(digest[n : n + 4], "big") for n in range(0, _SEED_BYTES, 4)]
            numpy_random.seed(words)
