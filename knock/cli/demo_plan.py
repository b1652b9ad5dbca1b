"""What the demo does: real files, and faults that are planted on purpose."""

import random
import signal
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knock.cli import demo_fault
from knock.core.job import AttemptOutcome, JobState
from knock.core.policy import BreakerPolicy
from knock.errors import KnockError
from knock.pool.job import Job
from knock.queue import PolicyOptions

# What is installed beside the library is none of it.
_LEFT_OUT = frozenset({"site-packages", "dist-packages"})

BREAKER = BreakerPolicy(threshold=5, reset_timeout=0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Work that is done for every module, as a job type of this name."""

    name: str
    processor: Callable[[Job], Any]
    priority: str
    options: PolicyOptions = field(default_factory=lambda: PolicyOptions(retry_attempts=1))


HASHES = Step(name="hash", processor=demo_fault.hash_module, priority="high")
# It fails until its breaker has opened. The retries are more than that can take.
WORDS = Step(
    name="words",
    processor=demo_fault.count_words_of_module,
    priority="normal",
    options=PolicyOptions(breaker=BREAKER, retry_attempts=10),
)
STEPS = (
    HASHES,
    Step(name="measure", processor=demo_fault.measure_module, priority="normal"),
    WORDS,
    Step(name="compress", processor=demo_fault.compress_module, priority="low"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A job that goes wrong, and what is to become of it. It may run as often as it is to end."""

    job_type: str
    processor: Callable[[Job], Any]
    what: str
    state: JobState
    outcomes: tuple[AttemptOutcome, ...]
    signal: int | None = None
    exit_code: int | None = None
    timeout: float | None = None

    @property
    def options(self) -> PolicyOptions:
        """Its policy."""
        return PolicyOptions(timeout=self.timeout, retry_attempts=len(self.outcomes) - 1)


FLAKY = Fault(
    job_type="flaky",
    processor=demo_fault.hash_at_third_try,
    what="raises twice, then succeeds",
    state=JobState.COMPLETED,
    outcomes=(*[AttemptOutcome.ERROR] * demo_fault.FLAKY_FAILURES, AttemptOutcome.SUCCESS),
)
FAULTS = (
    FLAKY,
    Fault(
        job_type="hang",
        processor=demo_fault.hang_in_c,
        what="hangs in C code that holds the GIL",
        state=JobState.DEAD,
        outcomes=(AttemptOutcome.TIMEOUT, AttemptOutcome.TIMEOUT),
        signal=signal.SIGKILL,
        timeout=2.0,
    ),
    Fault(
        job_type="segfault",
        processor=demo_fault.read_address_zero,
        what="reads memory that is not there",
        state=JobState.DEAD,
        outcomes=(AttemptOutcome.CRASH, AttemptOutcome.CRASH),
        signal=signal.SIGSEGV,
    ),
    Fault(
        job_type="exit",
        processor=demo_fault.exit_with_code_zero,
        what="ends its process by os._exit(0)",
        state=JobState.DEAD,
        outcomes=(AttemptOutcome.CRASH, AttemptOutcome.CRASH),
        exit_code=0,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The modules, sorted, and the order in which they are done.

    ``flaky`` is the module that is hashed by the job ``FLAKY``.
    """

    root: Path
    paths: tuple[str, ...]
    order: tuple[int, ...]
    flaky: int
    seed: int


def make_plan(seed: int, limit: int | None = None) -> Plan:
    """Look at this interpreter's standard library.

    ``limit``: no more modules than that, drawn by the seed; None is all.

    Raises:
        KnockError: It has no source files here.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = sorted(str(path) for path in root.rglob("*.py") if _is_wanted(path, root))
    if not found:
        raise KnockError(f"no source files of the standard library under {root}")
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    kept = len(found) if limit is None else min(limit, len(found))
    paths = sorted(rng.sample(found, kept))
    order = rng.sample(range(kept), kept)
    return Plan(root=root, paths=tuple(paths), order=tuple(order), flaky=order[-1], seed=seed)


def _is_wanted(path: Path, root: Path) -> bool:
    return _LEFT_OUT.isdisjoint(path.relative_to(root).parts) and path.is_file()
