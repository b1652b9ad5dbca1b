"""Hours in short: crashing and hanging jobs without end, and nothing grows."""

import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import knock
from tests.figures.row import Row, at_least, at_most, equal
from tests.figures.witness import processes_of, wait_until

CRASHES, HANGS = 0.05, 0.01
LIMIT = 0.1
WAITING = 100
EVERY_SECONDS = 1.0
KEPT_SECONDS = 1.0
SHARED = ("knock", "psm_", "sem.", "pymp-")
PAGE_MIB = 4096 / 2**20


def work(job: knock.Job) -> int:
    if job.data == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    while job.data == "hang":
        pass
    return sum(range(10_000))


@dataclass(frozen=True)
class Sample:
    at: float
    supervisor_mib: float
    caller_mib: float
    supervisor_fds: int
    caller_fds: int


def rows(*, quick: bool) -> Iterator[Row]:
    seconds = 15.0 if quick else 600.0
    shared = set(os.listdir("/dev/shm"))
    before = set(processes_of(os.getpid()))
    with tempfile.TemporaryDirectory() as folder:
        queue = _start(folder)
        supervisor = _supervisor(before)
        samples, done = _feed(queue, supervisor, seconds)
        queue.join()
        zombies = _zombies(supervisor)
        queue.stop(0)
        files = os.listdir(folder)
    yield from _judge(samples, quick=quick)
    yield equal("zombies under the supervisor", zombies, 0)
    gone = wait_until(lambda: not set(processes_of(os.getpid())) - before, 5)
    yield equal("processes left", gone is None, False)
    # Other programs put things there too.
    new = [name for name in set(os.listdir("/dev/shm")) - shared if name.startswith(SHARED)]
    yield equal("shared memory left", new, [])
    yield equal("temporary files left", files, [])
    yield at_least("jobs meanwhile, of which 6 % ended badly", done, 10 * seconds)


def _start(folder: str) -> knock.QueueInstance:
    """Start a queue whose processes have a folder of their own for temporary files."""
    queue = knock.QueueInstance(
        concurrency=2, retry_attempts=0, breaker=None, retention=KEPT_SECONDS, preload=[__name__]
    )
    queue.process("work", work, timeout=LIMIT)
    kept = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = folder
    try:
        queue.start()
    finally:
        del os.environ["TMPDIR"]
        if kept is not None:
            os.environ["TMPDIR"] = kept
    return queue


def _supervisor(before: set[int]) -> int:
    found = wait_until(lambda: len(set(processes_of(os.getpid())) - before) >= 4, 30)
    assert found is not None
    own = set(processes_of(os.getpid())) - before
    [supervisor] = [pid for pid in own if _stat(pid)[1] == str(os.getpid())]
    return supervisor


def _feed(queue: knock.QueueInstance, supervisor: int, seconds: float) -> tuple[list[Sample], int]:
    rng = random.Random(9)
    started = time.monotonic()
    samples: list[Sample] = []
    done = 0
    while (at := time.monotonic() - started) < seconds:
        stats = queue.get_stats()
        if stats.queued < WAITING:
            queue.add_many("work", [_kind(rng) for _ in range(WAITING)])
            done += WAITING
        if at >= len(samples) * EVERY_SECONDS:
            samples.append(_sample(at, supervisor))
            # Dead letters are kept until somebody has looked at them.
            queue.purge_dead_letters()
        time.sleep(0.01)
    return samples, done


def _kind(rng: random.Random) -> str:
    drawn = rng.random()
    return "crash" if drawn < CRASHES else "hang" if drawn < CRASHES + HANGS else ""


def _sample(at: float, supervisor: int) -> Sample:
    pids = (supervisor, os.getpid())
    mib = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB for pid in pids]
    fds = [len(os.listdir(f"/proc/{pid}/fd")) for pid in pids]
    return Sample(at, *mib, *fds)


def _judge(samples: list[Sample], *, quick: bool) -> Iterator[Row]:
    # What allocators take until they have seen everything is no growth.
    settled = samples[len(samples) // 2 if quick else len(samples) // 5 :]
    for name in ("supervisor", "caller"):
        sizes = [getattr(sample, f"{name}_mib") for sample in settled]
        if quick:
            # Too short for a slope: a page more or less would be all of it.
            yield at_most(f"memory of the {name}, grown by", sizes[-1] - sizes[0], 2.0, "MiB")
        else:
            slope = statistics.linear_regression([s.at for s in settled], sizes).slope
            yield at_most(f"memory of the {name}, in 10 minutes", 600 * slope, 1.0, "MiB")
        counts = [getattr(sample, f"{name}_fds") for sample in settled]
        half = len(counts) // 2
        grown = max(counts[half:]) - max(counts[:half])
        yield at_most(f"descriptors of the {name}, grown by", grown, 0)


def _zombies(supervisor: int) -> int:
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            state, parent = _stat(int(entry.name))
            found += state == "Z" and parent in {str(supervisor), *map(str, _below(supervisor))}
    return found


def _below(pid: int) -> list[int]:
    return processes_of(pid)


def _stat(pid: int) -> tuple[str, str]:
    """Return state and parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", ""
    return fields[0], fields[1]
