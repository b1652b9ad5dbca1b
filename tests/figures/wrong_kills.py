"""Jobs of 0.2 ms cancelled and timed out in the middle of windows: no other job is ever hit."""

import mmap
import os
import random
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

import knock
from knock.core.commands import KillCause, KillWorker
from knock.core.events import KillDropped
from knock.core.job import JobState
from tests.figures.row import Row, at_least, equal
from tests.figures.tap import tapped
from tests.figures.witness import note, notes, processes_of, wait_until

JOB_SECONDS = 0.0002
LIMIT = 0.001  # the shortest that there is
BATCH = 200
_PAGES: dict[str, mmap.mmap] = {}


def page(folder: str) -> mmap.mmap:
    """Return what all share: the job that started last."""
    if folder not in _PAGES:
        with open(os.path.join(folder, "page"), "r+b") as file:
            _PAGES[folder] = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    return _PAGES[folder]


def tick(job: knock.Job) -> None:
    folder, seconds = job.data
    until = time.perf_counter() + seconds
    path = os.path.join(folder, "witness")
    note(path, "started", job.id)
    struct.pack_into("<Q", page(folder), 0, job.id)
    while time.perf_counter() < until:
        pass
    note(path, "ended", job.id)


class Kills:
    """What was ordered, and what of it came too late."""

    def __init__(self) -> None:
        self.ordered: Counter[KillCause] = Counter()
        self.dropped = 0

    def look(self, event: object, commands: list[object]) -> None:
        self.dropped += isinstance(event, KillDropped)
        for command in commands:
            if isinstance(command, KillWorker):
                self.ordered[command.cause] += 1


def rows(*, quick: bool) -> Iterator[Row]:
    wanted = 100 if quick else 5_000
    before = set(processes_of(os.getpid()))
    yield from _round("cancel", KillCause.CANCELLED, wanted, _cancel)
    yield from _round("timeout", KillCause.TIMEOUT, wanted, _time_out)
    yield equal("processes left", len(set(processes_of(os.getpid())) - before), 0)


def _round(name: str, cause: KillCause, wanted: int, work) -> Iterator[Row]:
    kills = Kills()
    with tempfile.TemporaryDirectory() as folder, tapped(kills.look):
        with open(os.path.join(folder, "page"), "wb") as file:
            file.truncate(mmap.PAGESIZE)
        queue = knock.QueueInstance(
            supervisor="thread", concurrency=2, retry_attempts=0, breaker=None, preload=[__name__]
        )
        queue.process("tick", tick)
        queue.process("limited", tick, timeout=LIMIT)
        queue.start()
        ids, victims = work(queue, folder, lambda: kills.ordered[cause] >= wanted)
        queue.join()
        queue.stop()
        states = {job_id: queue.get_job(job_id).state for job_id in ids}
        lines = Counter(map(tuple, notes(os.path.join(folder, "witness"))))
        _PAGES.pop(folder, None)
    ordered = kills.ordered[cause]
    yield at_least(f"{name}: kills ordered", ordered, wanted)
    yield at_least("... that came too late for the job", kills.dropped, 0)
    ended = {JobState.CANCELLED, JobState.DEAD}
    hit = sum(states[job_id] in ended for job_id in victims)
    yield at_least(f"... jobs ended by them, of {len(ids):,} in all", hit, ordered // 10)
    wrong = [i for i in ids if not _is_right(i, i in victims, states[i], lines)]
    yield equal(f"{name}: wrong jobs hit, or run twice", wrong, [])


def _is_right(job_id: int, is_victim: bool, state: JobState, lines: Counter) -> bool:
    started, ended = lines["started", str(job_id)], lines["ended", str(job_id)]
    if state is JobState.COMPLETED:
        return (started, ended) == (1, 1)
    return is_victim and started <= 1


def _cancel(queue: knock.QueueInstance, folder: str, is_enough) -> tuple[list[int], set[int]]:
    """Cancel what runs, if its number is even; the odd ones run beside and behind it."""
    rng = random.Random(5)
    ids: list[int] = []
    victims: set[int] = set()
    shared = page(folder)
    while not is_enough():
        if not ids or struct.unpack_from("<Q", shared)[0] > ids[-1] - BATCH // 2:
            ids += queue.add_many("tick", [(folder, JOB_SECONDS)] * BATCH)
        time.sleep(rng.uniform(0, 2 * JOB_SECONDS))
        (running,) = struct.unpack_from("<Q", shared)
        if running and running % 2 == 0 and running not in victims:
            victims.add(running)
            queue.cancel(running)
    return ids, victims


def _time_out(queue: knock.QueueInstance, folder: str, is_enough) -> tuple[list[int], set[int]]:
    """Let some take about as long as they may, and others run beside and behind them."""
    rng = random.Random(6)
    ids: list[int] = []
    victims: set[int] = set()
    while not is_enough():
        for _ in range(BATCH // 4):
            limited = queue.add("limited", (folder, rng.uniform(0.5, 1.5) * LIMIT))
            victims.add(limited)
            ids += [limited, *queue.add_many("tick", [(folder, JOB_SECONDS)] * 3)]
        assert wait_until(lambda: queue.get_stats().queued < BATCH, 60) is not None
    return ids, victims
