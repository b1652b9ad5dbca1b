"""The numeric thread pools of a worker, wider while a job runs that may use several threads."""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# What bounds the pools of a kind of library, as ``threadpoolctl`` names it.
_VARIABLES = {
    "openmp": "OMP_NUM_THREADS",
    "openblas": "OPENBLAS_NUM_THREADS",
    "mkl": "MKL_NUM_THREADS",
    "blis": "BLIS_NUM_THREADS",
}
# Taken at import: a job may put its own in its place.
_environ = os.environ


class Numeric:
    """Thread pools of this process that knock has capped.

    ``capped`` are the environment variables that knock has set for it, all to the same number. What
    somebody else has set, the user or a job, is left alone.
    """

    def __init__(self, capped: Sequence[str] = ()) -> None:
        self._capped = capped
        self._cap = int(_environ.get(capped[0], "1")) if capped else 0
        self._kinds = {kind for kind, name in _VARIABLES.items() if name in capped}
        self._controller: Any = None
        self._is_sought = False

    @contextmanager
    def widened(self, threads: int) -> Iterator[None]:
        """Let numeric libraries use so many threads, if that is more than they may anyway.

        Of libraries that are loaded already only ``threadpoolctl`` can change that, if it is
        installed; others read the environment when they are loaded.
        """
        if threads <= self._cap or not self._capped:
            yield
            return
        cap, wide = str(self._cap), str(threads)
        ours = [name for name in self._capped if _environ.get(name) == cap]
        _environ.update(dict.fromkeys(ours, wide))
        sizes = self._widen(threads)
        try:
            yield
        finally:
            _environ.update({name: cap for name in ours if _environ.get(name) == wide})
            self._narrow(sizes)

    def _widen(self, threads: int) -> dict[str, int | None]:
        """Return how large the pools were, by file of their library."""
        sizes: dict[str, int | None] = {}
        for library in self._libraries():
            size = library.num_threads
            sizes[library.filepath] = size
            if size is not None and size < threads:
                library.set_num_threads(threads)
        return sizes

    def _narrow(self, sizes: dict[str, int | None]) -> None:
        for library in self._libraries():
            # One that was loaded meanwhile has read the environment of that time.
            size = sizes.get(library.filepath, self._cap)
            if size is not None and library.num_threads != size:
                library.set_num_threads(size)

    def _libraries(self) -> list[Any]:
        if not self._is_sought:
            self._is_sought = True
            try:
                self._controller = importlib.import_module("threadpoolctl").ThreadpoolController
            except ImportError:
                self._controller = None
        if self._controller is None:
            return []
        found = self._controller().lib_controllers
        return [library for library in found if library.internal_api in self._kinds]
