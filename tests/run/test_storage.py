"""Batches that keep their jobs in a storage: what is done is not done again."""

import importlib
import threading

import pytest

from knock import InMemoryStorage, QueueInstance, iter_pool, run_pool
from knock.core.job import JobSpec, JobState
from knock.errors import ConfigError, JobCancelledError
from tests.run import jobs

pytestmark = pytest.mark.process

QUIET = {"progress": False, "workers": 2}


def key(item):
    return str(item[1])


@pytest.fixture(params=["thread", "process"])
def keyed(request):
    return {**QUIET, "supervisor": request.param, "storage": InMemoryStorage(), "key": key}


def counts(storage):
    found = storage.counts(now=0.0)
    return {state.value: getattr(found, state.value) for state in JobState if getattr(found, state)}


def test_what_has_completed_is_not_run_again(witness, keyed):
    first = run_pool(jobs.count_in, [(witness, n) for n in range(20)], **keyed)
    again = run_pool(jobs.count_in, [(witness, n) for n in range(30)], **keyed)
    assert first.results == list(range(20))
    assert again.results == list(range(30))
    assert [o.item for o in again.outcomes] == [(witness, n) for n in range(30)]
    assert sorted(map(int, witness.facts())) == list(range(30))
    assert counts(keyed["storage"]) == {"completed": 30}


def test_what_was_not_run_counts_for_no_work(witness, keyed):
    first = run_pool(jobs.count_in, [(witness, n % 2) for n in range(5)], **keyed)
    assert sorted(o.is_restored for o in first.outcomes) == [False, False, True, True, True]
    numbers = first.to_dict()["total"]
    assert (numbers["jobs"], numbers["restored"], numbers["attempts"]) == (5, 3, 2)
    outcomes = list(iter_pool(jobs.count_in, [(witness, n) for n in range(3)], **keyed))
    assert {o.item[1]: o.is_restored for o in outcomes} == {0: True, 1: True, 2: False}
    report = run_pool(jobs.count_in, [(witness, n) for n in range(3)], **keyed)
    assert report.statistics.total.attempt_count == 0
    assert report.to_dict()["jobs_per_second"] == 0.0


def test_nothing_is_left_to_run(witness, keyed):
    items = [(witness, n) for n in range(5)]
    run_pool(jobs.count_in, items, **keyed)
    assert run_pool(jobs.count_in, items, **keyed).results == list(range(5))
    assert len(witness.facts()) == 5


def test_what_failed_is_run_again(witness, keyed):
    items = [(witness, n) for n in range(4)]
    assert not run_pool(jobs.fail_first, items, **keyed).ok
    assert counts(keyed["storage"]) == {"dead": 4}
    report = run_pool(jobs.fail_first, items, **keyed)
    assert report.results == list(range(4))
    assert counts(keyed["storage"]) == {"completed": 4}


def test_what_a_stop_left_is_run_by_the_next(witness, keyed):
    items = [(witness, n) for n in range(50)]
    report = run_pool(jobs.fail_first, items, on_error="stop", **keyed)
    left = [o for o in report.outcomes if o.state is JobState.CANCELLED]
    assert left
    assert isinstance(left[0].exception(), JobCancelledError)
    assert not {"queued", "processing"} & counts(keyed["storage"]).keys()
    report = run_pool(jobs.fail_first, items, retry_attempts=1, retry_delay=0, **keyed)
    assert report.results == list(range(50))


def test_items_with_one_key_are_one_job(witness, keyed):
    items = [(witness, n % 3) for n in range(600)]
    assert run_pool(jobs.count_in, items, **keyed).results == [n % 3 for n in range(600)]
    assert sorted(witness.facts()) == ["0", "1", "2"]


def test_an_item_that_cannot_be_pickled_leaves_its_key_to_the_next(keyed):
    items = [(threading.Lock(), 5), (None, 5), (None, 5)]
    report = run_pool(jobs.pick_second, items, **keyed)
    assert report.values() == [None, 5, 5]
    assert counts(keyed["storage"]) == {"completed": 1}


def test_items_with_one_key_share_a_failure(keyed):
    items = [(None, -1), (None, 2), (None, -1)]
    report = run_pool(jobs.pick_second, items, **keyed)
    assert [o.ok for o in report.outcomes] == [False, True, False]
    assert len(report.failures) == 2


def test_a_stream_left_early_has_stored_what_it_gave(witness, keyed):
    items = [(witness, n) for n in range(1000)]
    given = []
    for outcome in iter_pool(jobs.count_in, items, **keyed):
        given.append(outcome.value)
        if len(given) == 5:
            break
    del outcome
    stored = counts(keyed["storage"])
    assert stored["completed"] >= 5
    assert not {"queued", "processing"} & stored.keys()
    outcomes = list(iter_pool(jobs.count_in, items, **keyed))
    assert sorted(o.value for o in outcomes) == list(range(1000))
    # What ran when the stream was left may have been killed after it noted itself.
    assert len(witness.facts()) <= 1000 + 2
    assert len(set(witness.facts())) == 1000


def test_another_function_has_its_own_keys(witness, keyed):
    items = [(witness, n) for n in range(3)]
    run_pool(jobs.count_in, items, **keyed)
    assert run_pool(jobs.negate_second, items, **keyed).results == [0, -1, -2]


def test_a_function_of_the_same_name_in_another_module_has_its_own_keys(
    witness, keyed, tmp_path, monkeypatch
):
    (tmp_path / "namesake.py").write_text("def count_in(item):\n    return -item[1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    namesake = importlib.import_module("namesake")
    items = [(witness, n) for n in range(3)]
    run_pool(jobs.count_in, items, **keyed)
    assert run_pool(namesake.count_in, items, **keyed).results == [0, -1, -2]


def test_a_seed_goes_by_the_index_of_the_item(witness):
    options = {**QUIET, "seed": 5, "key": str}
    whole = run_pool(jobs.draw, range(10), storage=InMemoryStorage(), **options).results
    storage = InMemoryStorage()
    run_pool(jobs.draw, range(5), storage=storage, **options)
    assert run_pool(jobs.draw, range(10), storage=storage, **options).results == whole


def test_without_keys_a_storage_keeps_what_was_done(keyed):
    del keyed["key"]
    for _ in range(2):
        assert run_pool(jobs.square, range(5), **keyed).results == [0, 1, 4, 9, 16]
    assert counts(keyed["storage"]) == {"completed": 10}


def test_a_storage_with_other_jobs_is_refused():
    storage = InMemoryStorage()
    storage.enqueue([JobSpec(1, "other", b"", 1, 0.0, 0.0)], now=0.0)
    with pytest.raises(ConfigError, match="1 unfinished job of something else"):
        run_pool(jobs.square, [1], storage=storage, **QUIET)
    assert counts(storage) == {"queued": 1}


def test_after_a_queue_a_batch_may_use_its_storage():
    storage = InMemoryStorage()
    with QueueInstance(storage=storage, concurrency=1) as queue:
        queue.process("square", jobs.square_data)
        queue.start()
        assert queue.result(queue.add("square", 3)) == 9
    assert run_pool(jobs.square, [4], storage=storage, **QUIET).results == [16]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"key": str}, "give storage too"),
        ({"key": "name", "storage": "memory://"}, "key must be a function"),
        ({"storage": "nowhere://x"}, "unknown storage"),
        ({"storage": 5}, "storage must be a storage or the URL of one"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        run_pool(jobs.square, [1], **options, **QUIET)


@pytest.mark.parametrize("bad", [5, "", None])
def test_what_is_no_key_is_refused(bad):
    with pytest.raises(ConfigError, match="it did for item 0"):
        run_pool(jobs.square, [1], key=lambda _: bad, storage="memory://", **QUIET)


def test_a_storage_that_cannot_travel_names_the_thread():
    class Stuck(InMemoryStorage):
        def __reduce__(self):
            raise TypeError("stuck")

    with pytest.raises(ConfigError, match="supervisor='thread'"):
        run_pool(jobs.square, [1], storage=Stuck(), supervisor="process", **QUIET)


def test_the_environment_names_a_storage(monkeypatch):
    monkeypatch.setenv("KNOCK_STORAGE", "memory://")
    assert run_pool(jobs.square, [2], key=str, **QUIET).results == [4]
    monkeypatch.setenv("KNOCK_STORAGE", "nowhere://")
    with pytest.raises(ConfigError, match="unknown storage"):
        run_pool(jobs.square, [2], **QUIET)
