"""Where rows of the catalogue are played: one queue with two workers, and neighbours."""

import os
import signal
import tempfile

import knock
from knock.core.job import AttemptOutcome, JobRecord, JobState
from tests.figures.witness import processes_of
from tests.process import hostile, hostile_value
from tests.process.catalogue import Row
from tests.process.hostile import Scene
from tests.witness import is_alive, wait_for, wait_gone

WORKERS = 2
BESIDE = 3
GONE_SECONDS = 1.0
MAX_TEXT = 1 << 16


class Arena:
    """One queue for many rows, with its supervisor in a process of its own.

    That it goes on after each is part of what the rows are about.
    """

    def __init__(self, start_method: str = "forkserver") -> None:
        queue = knock.QueueInstance(
            concurrency=WORKERS,
            start_method=start_method,
            retry_attempts=0,
            breaker=None,
            preload=[hostile.__name__, hostile_value.__name__],
        )
        queue.process("hostile", hostile.act)
        queue.process("neighbour", hostile.neighbour)
        # W43 kills its worker: once more is enough.
        queue.process("hold", hostile.hold, retry_attempts=1, retry_delay=0.0, retry_crashes=1)
        self.queue = queue
        before = set(processes_of(os.getpid()))
        # What jobs print is not for whoever looks at the rows.
        with _nothing_printed():
            queue.start()
            wait_for(lambda: len(self._own(before)) == WORKERS + 2, what="the boot of the workers")
        own = self._own(before)
        [self.supervisor] = [pid for pid in own if _parent_of(pid) == os.getpid()]
        self._see_both_workers()
        self._fds = self._open_fds()

    def _own(self, before: set[int]) -> set[int]:
        return set(processes_of(os.getpid())) - before

    def _see_both_workers(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder)
            holders = self.queue.add_many("hold", [scene] * WORKERS)
            scene.witness.wait(WORKERS)
            scene.gate.open()
            for job_id in holders:
                self._ended(job_id)

    def close(self) -> None:
        self.queue.stop(0)

    def play(self, row: Row) -> None:
        """Play one row; AssertionError if anything is not as it says."""
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(folder)
            if row.scenario is not None:
                row.scenario(scene)
                return
            self._play(row, scene)

    def _play(self, row: Row, scene: Scene) -> None:
        queue = self.queue
        holder = queue.add("hold", scene)
        scene.witness.wait(1)
        beside = self._neighbours(scene, 0)
        data = None if row.data is None else row.data(scene)
        guilty = queue.add("hostile", (row.job, scene, data), timeout=row.limit)
        beside += self._neighbours(scene, BESIDE)
        record = self._ended(guilty)
        scene.gate.open()
        self._assert_told(row, record)
        for number, job_id in enumerate(beside + self._neighbours(scene, 2 * BESIDE)):
            self._assert_unharmed(self._ended(job_id))
            assert scene.witness.count(f"neighbour {number}") == 1
        self._assert_holder(row, self._ended(holder))
        # Until here nobody has asked for the value.
        assert scene.executed.facts() == []
        self._assert_tidy(row, record, scene)
        self._assert_value(row, guilty)

    def _neighbours(self, scene: Scene, first: int) -> list[int]:
        numbers = range(first, first + BESIDE)
        return self.queue.add_many("neighbour", [(scene, number) for number in numbers])

    def _ended(self, job_id: int) -> JobRecord:
        def is_ended() -> JobRecord | None:
            record = self.queue.get_job(job_id)
            return record if record.state.is_final else None

        return wait_for(is_ended, what=f"the end of job {job_id}")

    def _assert_told(self, row: Row, record: JobRecord) -> None:
        [attempt] = record.attempts
        assert attempt.outcome is row.outcome, attempt
        text = "" if attempt.death is None else attempt.death.cause
        if attempt.error is not None:
            text += f"{attempt.error.type_name}: {attempt.error.message}"
            assert len(attempt.error.message) <= MAX_TEXT
            assert len(attempt.error.traceback) <= MAX_TEXT
        assert row.told in text, text
        assert (record.state is JobState.COMPLETED) == (row.outcome is AttemptOutcome.SUCCESS)

    def _assert_unharmed(self, record: JobRecord) -> None:
        assert record.state is JobState.COMPLETED, record
        assert [attempt.outcome for attempt in record.attempts] == [AttemptOutcome.SUCCESS], record

    def _assert_holder(self, row: Row, record: JobRecord) -> None:
        if not row.harms_sibling:
            self._assert_unharmed(record)
            return
        outcomes = [attempt.outcome for attempt in record.attempts]
        assert outcomes == [AttemptOutcome.CRASH, AttemptOutcome.SUCCESS], record

    def _assert_tidy(self, row: Row, record: JobRecord, scene: Scene) -> None:
        worker = record.attempts[0].worker_pid
        assert worker is not None
        assert worker not in (os.getpid(), self.supervisor)
        bred = set(map(int, scene.children.facts()))
        if row.lives:
            assert is_alive(worker)
        elif row.lives is False:
            wait_gone({worker}, GONE_SECONDS)
        wait_gone(bred, GONE_SECONDS)
        if row.leaves_dirt:
            os.kill(worker, signal.SIGKILL)
            wait_gone({worker}, GONE_SECONDS)
        assert is_alive(self.supervisor)
        # A nursery and the workers.
        wait_for(lambda: len(processes_of(self.supervisor)) == WORKERS + 1, what="a tidy pool")
        wait_for(lambda: self._open_fds() == self._fds, what=f"{self._fds} open descriptors")

    def _open_fds(self) -> int:
        return len(os.listdir(f"/proc/{self.supervisor}/fd"))

    def _assert_value(self, row: Row, job_id: int) -> None:
        if row.raises is not None:
            try:
                self.queue.result(job_id)
            except row.raises:
                return
            raise AssertionError(f"no {row.raises.__name__}")
        if row.value is not None:
            assert row.value(self.queue.result(job_id))


def _parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


class _nothing_printed:  # noqa: N801 - used like a function
    """What is started in this block has no standard output."""

    def __enter__(self) -> None:
        self.saved = [os.dup(fd) for fd in (1, 2)]
        null = os.open(os.devnull, os.O_WRONLY)
        for fd in (1, 2):
            os.dup2(null, fd)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        for fd, saved in zip((1, 2), self.saved, strict=True):
            os.dup2(saved, fd)
            os.close(saved)
