"""The pools, each used as its documentation recommends. A peer that is not installed is left out.

Each class is a context manager: ``submit`` hands out a job, whose ``get(seconds)`` returns its
value, raises its error, or raises ``TimeoutError`` when there is no answer in time.
"""

import importlib.util
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Self

import knock

Get = Callable[[float], Any]
WORKERS = 2


class Unanswered(Exception):  # noqa: N818 - no error of the job
    """There is no answer in time."""


class Knock:
    """``QueueInstance``, no retries."""

    def __init__(self) -> None:
        self.queue = knock.QueueInstance(concurrency=WORKERS, retry_attempts=0)
        self.queue.process("job", self._call)

    @staticmethod
    def _call(job: Any) -> Any:
        fn, item = job.data
        return fn(item)

    def __enter__(self) -> Self:
        self.queue.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.queue.__exit__(*raised)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        job_id = self.queue.add("job", (fn, item), timeout=limit)

        def get(seconds: float) -> Any:
            try:
                return self.queue.result(job_id, timeout=seconds)
            except knock.JobTimeoutError:
                raise
            except TimeoutError as exc:
                raise Unanswered from exc

        return get


def _get_of(future: "Future[Any]") -> Get:
    def get(seconds: float) -> Any:
        try:
            return future.result(timeout=seconds)
        except TimeoutError as exc:
            if future.done():
                raise
            raise Unanswered from exc

    return get


class Executor:
    """``ProcessPoolExecutor``; it has no limit for one job."""

    def __init__(self) -> None:
        self.pool: Any = self._make()

    def _make(self) -> Any:
        return ProcessPoolExecutor(WORKERS)

    def __enter__(self) -> Self:
        self.pool.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.pool.__exit__(*raised)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        return _get_of(self.pool.submit(fn, item))


class Loky(Executor):
    """``get_reusable_executor``, asked for before each job as its documentation shows."""

    def _make(self) -> Any:
        from loky import get_reusable_executor

        return get_reusable_executor(max_workers=WORKERS)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        self.pool = self._make()
        return super().submit(fn, item, limit)


class Pool:
    """``multiprocessing.Pool``; it has no limit for one job."""

    def __init__(self) -> None:
        self.pool: Any = multiprocessing.get_context().Pool(WORKERS)

    def __enter__(self) -> Self:
        self.pool.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.pool.__exit__(*raised)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        return self._get_of(self.pool.apply_async(fn, (item,)))

    @staticmethod
    def _get_of(answer: Any) -> Get:
        def get(seconds: float) -> Any:
            answer.wait(seconds)
            if not answer.ready():
                raise Unanswered
            return answer.get(0)

        return get


class Pebble(Executor):
    """``pebble.ProcessPool``."""

    def _make(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(max_workers=WORKERS)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        return _get_of(self.pool.schedule(fn, args=[item], timeout=limit))


class Mpire(Pool):
    """``mpire.WorkerPool``."""

    def __init__(self) -> None:
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=WORKERS)

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        return self._get_of(self.pool.apply_async(fn, args=(item,), task_timeout=limit))


class Joblib:
    """``joblib.Parallel``: one call for all jobs, which returns all results or raises."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[[Any], Any], Any]] = []
        self.limit: float | None = None
        self.answers: list[Any] = []
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        pass

    def submit(self, fn: Callable[[Any], Any], item: Any, limit: float | None) -> Get:
        number = len(self.calls)
        self.calls.append((fn, item))
        self.limit = limit

        def get(_: float) -> Any:
            if number >= len(self.answers) and self.failure is None:
                self._run()
            if self.failure is not None:
                raise self.failure
            return self.answers[number]

        return get

    def _run(self) -> None:
        from joblib import Parallel, delayed

        waiting = self.calls[len(self.answers) :]
        pool = Parallel(n_jobs=WORKERS, timeout=self.limit)
        try:
            self.answers += pool(delayed(fn)(item) for fn, item in waiting)
        except Exception as exc:  # noqa: BLE001 - whatever the call raises is each job's
            self.failure = exc

    def again(self) -> None:
        """Forget a call that has failed: what follows is another."""
        self.answers = [None] * len(self.calls)
        self.failure = None


# The name in the table, the distribution, how it is used.
PEERS: dict[str, tuple[str, str | None, Callable[[], Any]]] = {
    "knock": ("knock", None, Knock),
    "executor": ("ProcessPoolExecutor", None, Executor),
    "pool": ("multiprocessing.Pool", None, Pool),
    "loky": ("loky", "loky", Loky),
    "joblib": ("joblib", "joblib", Joblib),
    "pebble": ("Pebble", "pebble", Pebble),
    "mpire": ("mpire", "mpire", Mpire),
}


def installed() -> list[str]:
    """Return the names of the peers that can be imported here."""
    return [
        name
        for name, (_, module, _) in PEERS.items()
        if module is None or importlib.util.find_spec(module) is not None
    ]
