"""What a process inherits from its caller, as it was at one moment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Each of these bounds the threads of one numeric library in a process that loads it later.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Without a variable of their own these take the number of OMP_NUM_THREADS.
_FOLLOWERS = frozenset(
    {
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    }
)
_UMASK = re.compile(r"^Umask:\s*([0-7]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Environment, working directory and umask of a call.

    ``directory`` is None if it was removed, ``umask`` -1 where it cannot be read without changing
    it; both are then inherited as they happen to be. ``capped`` are the variables of
    ``environment`` that bound numeric threads and were not set by the user.
    """

    environment: dict[str, str]
    directory: str | None
    umask: int
    capped: tuple[str, ...] = ()

    @classmethod
    def here(cls, thread_cap: int) -> "Surroundings":
        """Take what is around now; ``thread_cap`` bounds numeric threads where nobody else does."""
        environment = dict(os.environ)
        capped = _free_variables(environment) if thread_cap else ()
        environment.update(dict.fromkeys(capped, str(thread_cap)))
        return cls(environment, _directory(), _umask(), capped)

    def apply(self) -> None:
        """Make this process's surroundings like these."""
        os.environ.clear()
        os.environ.update(self.environment)
        if self.directory is not None:
            os.chdir(self.directory)
        if self.umask >= 0:
            os.umask(self.umask)


def _free_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    is_led = "OMP_NUM_THREADS" in environment
    return tuple(
        name
        for name in THREAD_VARIABLES
        if name not in environment and not (is_led and name in _FOLLOWERS)
    )


def _directory() -> str | None:
    try:
        directory = os.getcwd()
    except OSError:
        return None
    return directory if os.access(directory, os.X_OK) else None


def _umask() -> int:
    try:
        found = _UMASK.search(
            Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        )
    except OSError:
        return -1
    return -1 if found is None else int(found[1], 8)
