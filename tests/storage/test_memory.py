"""What only the storage in memory promises."""

import pickle
import random
import sys

import pytest

from knock.core.job import JobState, Settlement
from knock.errors import ConfigError
from knock.storage import open_storage
from knock.storage.agenda import Agenda
from knock.storage.lane import SWEEP_MINIMUM, Entry, Lane
from knock.storage.memory import InMemoryStorage
from knock.testing import NOW, a_job, settlement
from knock.testing.build import claim_ids, record, retry
from tests.storage.model import ListStorage


@pytest.fixture
def storage():
    return InMemoryStorage()


def test_it_travels_and_goes_on_where_it_was(storage):
    jobs = [a_job(i, priority=i % 3, key=f"k{i}") for i in range(1, 10)]
    delayed = a_job(10, run_at=NOW + 5.0, expires_at=NOW + 9.0)
    storage.enqueue([*jobs, delayed], now=NOW)
    done, running, retried = storage.claim(3, now=NOW, supervisor="s").jobs
    storage.settle([settlement(done), retry(retried, NOW + 2.0)], now=NOW)
    storage.heartbeat("s", now=NOW + 1.0)

    copy = pickle.loads(pickle.dumps(storage))

    ids = list(range(1, 11))
    assert copy.get(ids) == storage.get(ids)
    assert copy.counts(now=NOW) == storage.counts(now=NOW)
    assert copy.enqueue([a_job(99, key="k1")], now=NOW) == [1]
    assert copy.claim(20, now=NOW) == storage.claim(20, now=NOW)
    assert copy.claim(20, now=NOW + 9.0) == storage.claim(20, now=NOW + 9.0)
    assert copy.settle([settlement(running)], now=NOW + 9.0) == []


def test_a_clock_that_ran_back_hands_nothing_out_twice_and_loses_nothing(storage):
    storage.enqueue([a_job(1, run_at=NOW)], now=NOW)
    assert claim_ids(storage, now=NOW - 0.5) == [1]
    storage.cancel([1], now=NOW)
    assert storage.counts(now=NOW - 9.0).processing == 1


def test_cancelled_jobs_are_swept_out_of_their_lane():
    lane = Lane(0, "resize", 1)
    entries = [Entry(a_job(i), NOW) for i in range(1000)]
    for entry in entries:
        lane.add(entry)
    for entry in entries[300:]:
        entry.state = JobState.CANCELLED
        lane.bury_one()
    assert len(lane.fifo) < 1000 - 300
    assert lane.tombstones == 1000 - 300 - (1000 - len(lane.fifo))
    assert lane.take(1000, None) == entries[:300]
    assert lane.refresh_head() is None


def test_a_swept_lane_keeps_its_late_comers_in_order():
    lane = Lane(0, "resize", 1)
    order = random.Random(3).sample(range(1000), 1000)
    entries = {i: Entry(a_job(i), NOW) for i in order}
    for entry in entries.values():
        lane.add(entry)
    for i in range(0, 1000, 4):
        for doomed in (i, i + 1, i + 2):
            entries[doomed].state = JobState.CANCELLED
            lane.bury_one()
    assert [entry.spec.id for entry in lane.take(1000, None)] == list(range(3, 1000, 4))


def test_an_agenda_sweeps_what_was_struck():
    agenda = Agenda()
    entries = [Entry(a_job(i), NOW) for i in range(1000)]
    for entry in entries:
        agenda.add(NOW + entry.spec.id, entry)
    for entry in entries[:900]:
        entry.state = JobState.CANCELLED
        agenda.strike()
    assert len(agenda) == 100
    assert len(agenda._items) <= 2 * 100 + SWEEP_MINIMUM
    assert agenda.next_at() == NOW + 900
    assert agenda.take_until(NOW + 950) == entries[900:951]


def test_a_purged_job_leaves_nothing_heavy_behind(storage):
    payload = bytes(100)
    references = sys.getrefcount(payload)
    storage.enqueue([a_job(1), a_job(2, payload=payload)], now=NOW)
    assert sys.getrefcount(payload) > references
    storage.cancel([2], now=NOW)
    storage.purge([2])
    assert sys.getrefcount(payload) == references


def test_expiries_of_finished_jobs_do_not_pile_up(storage):
    storage.enqueue([a_job(2001, run_at=NOW + 5.0, expires_at=NOW + 9.0)], now=NOW)
    for job_id in range(1, 2001):
        storage.enqueue([a_job(job_id, expires_at=NOW + 1e6)], now=NOW)
        [claim] = storage.claim(1, now=NOW).jobs
        storage.settle([settlement(claim)], now=NOW)
        storage.purge([job_id])
    assert len(storage._expiries._items) <= 2 * SWEEP_MINIMUM


def test_a_held_type_costs_a_claim_nothing(storage):
    storage.enqueue([a_job(i, type="held") for i in range(1, 5000)], now=NOW)
    storage.enqueue([a_job(9999, type="free")], now=NOW)
    assert claim_ids(storage, places={"held": 0}) == [9999]
    storage.enqueue([a_job(0, type="held")], now=NOW)
    assert storage._lineup._heads == []
    assert claim_ids(storage, 2, places={"held": 2}) == [0, 1]


def test_heads_that_were_overtaken_do_not_pile_up(storage):
    for job_id in range(100, 0, -1):
        storage.enqueue([a_job(job_id)], now=NOW)
    assert claim_ids(storage, 99) == list(range(1, 100))
    assert len(storage._lineup._heads) <= 5


@pytest.mark.parametrize("seed", range(5))
def test_long_walks_agree_with_the_model(seed):
    rng = random.Random(seed)
    pair = (InMemoryStorage(), ListStorage())
    now, next_id, claims = NOW, 1, []

    def both(method, *args, **kwargs):
        got, expected = (getattr(one, method)(*args, **kwargs) for one in pair)
        assert got == expected, f"seed {seed}: {method}"
        return got

    for _ in range(60):
        now += rng.choice([0.0, 1.0])
        size = rng.randrange(60)
        jobs = [
            a_job(
                next_id + i,
                type=rng.choice("abcde"),
                priority=rng.randrange(3),
                run_at=now + rng.choice([0.0, 0.0, 0.0, -1.0, 4.0]),
                expires_at=rng.choice([None, None, now + 6.0]),
            )
            for i in range(size)
        ]
        next_id += size
        both("enqueue", jobs, now=now)
        places = {job_type: rng.randrange(8) for job_type in rng.sample("abcde", 3)}
        claims += both("claim", rng.randrange(30), now=now, places=places).jobs
        rng.shuffle(claims)
        ended = [claims.pop() for _ in range(len(claims) // 2)]
        both("settle", [_any_settlement(rng, claim, now) for claim in ended], now=now)
        some = rng.sample(range(1, next_id + 1), min(next_id, 50))
        both("cancel", some[:40], now=now)
        both("requeue", some, now=now)
        if rng.random() < 0.2:
            both("purge", before=now - 3.0)
        both("counts", now=now)


def _any_settlement(rng: random.Random, claim, now: float) -> Settlement:
    if rng.random() < 0.3:
        return retry(claim, now + rng.choice([0.0, 3.0]))
    return settlement(claim, rng.choice(sorted(set(JobState) - {JobState.PROCESSING})))


def test_the_scheme_names_the_storage():
    assert isinstance(open_storage("memory://"), InMemoryStorage)


@pytest.mark.parametrize("url", ["", "memory", "memory:", "mongo://x", "memory://x", "://"])
def test_an_unknown_url_is_refused_by_name(url):
    with pytest.raises(ConfigError, match="memory://"):
        open_storage(url)


def test_a_refused_url_does_not_show_its_password():
    with pytest.raises(ConfigError) as caught:
        open_storage("mongo://me:secret@host/db")
    assert "secret" not in str(caught.value)
    assert "mongo" in str(caught.value)


def test_records_do_not_change_when_their_job_does(storage):
    storage.enqueue([a_job()], now=NOW)
    before = record(storage)
    [claim] = storage.claim(1, now=NOW).jobs
    storage.settle([settlement(claim)], now=NOW)
    assert before.state is JobState.QUEUED
