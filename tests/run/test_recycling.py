"""Workers that are replaced by count of jobs, memory and age, and those that ask for it."""

from collections import Counter

import pytest

from knock import run_pool
from knock.core.job import AttemptOutcome
from knock.errors import ConfigError
from tests.run import jobs

pytestmark = pytest.mark.process

MIB = 1 << 20


def runs_by_process(witness):
    """How many jobs each process ran, as they noted it themselves."""
    return Counter(witness.facts())


@pytest.mark.parametrize("supervisor, count", [("thread", 200), ("process", 40)])
def test_limit_of_one_job_gives_each_of_a_backlog_a_process_of_its_own(witness, supervisor, count):
    report = run_pool(
        jobs.note_pid,
        [(witness, n) for n in range(count)],
        workers=2,
        max_jobs_per_worker=1,
        supervisor=supervisor,
        progress=False,
    )
    assert report.results == list(range(count))
    assert len(witness.facts()) == len(runs_by_process(witness)) == count
    assert report.facts.workers_recycled == {"max_jobs_per_worker": count}
    assert report.facts.worker_exits == ()
    assert report.facts.attempts == {AttemptOutcome.SUCCESS: count}
    assert f"workers recycled: {count} ({count} x max_jobs_per_worker)" in str(report)


def test_no_process_runs_more_jobs_than_it_may_though_they_are_sent_many_at_once(witness):
    items = [(witness, n) for n in range(1000)]
    report = run_pool(jobs.note_pid, items, workers=2, max_jobs_per_worker=30, progress=False)
    assert report.results == list(range(1000))
    runs = runs_by_process(witness)
    assert runs.total() == 1000
    assert max(runs.values()) <= 30
    assert report.facts.worker_exits == ()


def test_spawned_workers_are_recycled_too(witness):
    report = run_pool(
        jobs.note_pid,
        [(witness, n) for n in range(6)],
        workers=1,
        max_jobs_per_worker=2,
        start_method="spawn",
        progress=False,
    )
    assert report.results == list(range(6))
    assert list(runs_by_process(witness).values()) == [2, 2, 2]


def test_worker_is_replaced_for_what_its_jobs_leave_behind(witness):
    items = [(witness, 40 * MIB)] * 12
    report = run_pool(jobs.leak, items, workers=1, max_worker_memory="200MiB", progress=False)
    assert report.ok
    # 40 MiB more after each: before the sixth it keeps at least the limit.
    runs = runs_by_process(witness)
    assert max(runs.values()) <= 6
    assert min(list(runs.values())[:-1]) >= 2
    assert set(report.facts.workers_recycled) == {"max_worker_memory"}


def test_memory_that_a_job_gave_back_is_no_reason(witness):
    items = [(witness, 300 * MIB)] * 4
    report = run_pool(jobs.use_memory, items, workers=1, max_worker_memory="200MiB", progress=False)
    assert report.ok
    assert max(outcome.peak_rss_bytes for outcome in report.outcomes) > 300 * MIB
    assert len(runs_by_process(witness)) == 1
    assert report.facts.workers_recycled == {}


def test_memory_limit_below_what_any_worker_has_lets_each_do_its_job(witness):
    items = [(witness, n) for n in range(20)]
    report = run_pool(jobs.note_pid, items, workers=1, max_worker_memory=1, progress=False)
    assert report.results == list(range(20))
    assert report.facts.workers_recycled["max_worker_memory"] >= 1


def test_old_worker_is_replaced(witness):
    items = [(witness, 0.05)] * 20
    report = run_pool(jobs.note_pid_slowly, items, workers=1, max_worker_age=0.2, progress=False)
    assert report.ok
    # The fourth ends after 0.2 s at the earliest.
    assert max(runs_by_process(witness).values()) <= 4
    assert set(report.facts.workers_recycled) == {"max_worker_age"}
    assert report.facts.attempts == {AttemptOutcome.SUCCESS: 20}


def test_running_job_is_not_cut_by_the_age_of_its_worker(witness):
    [pid] = run_pool(
        jobs.note_pid_slowly, [(witness, 0.3)], workers=1, max_worker_age=0.01, progress=False
    ).results
    assert witness.facts() == [str(pid)]


def test_limit_of_one_millisecond_of_age_lets_every_job_run_once(witness):
    items = [(witness, n) for n in range(30)]
    report = run_pool(jobs.note_pid, items, workers=2, max_worker_age=0.001, progress=False)
    assert report.results == list(range(30))
    assert len(witness.facts()) == 30


def test_job_that_hangs_in_a_worker_that_retires_is_killed_by_its_limit(witness):
    items = [(witness, "wear and hang"), (witness, "go"), (witness, "go")]
    report = run_pool(jobs.wear_and, items, workers=1, timeout=0.3, progress=False)
    hung, *others = report.outcomes
    assert hung.outcome is AttemptOutcome.TIMEOUT
    assert [outcome.value for outcome in others] == ["go", "go"]
    # It was killed for its job: that is what is told of it.
    assert (len(report.facts.worker_exits), report.facts.workers_recycled) == (1, {})


def test_job_that_crashes_a_worker_that_retires_is_charged(witness):
    items = [(witness, "wear and crash"), (witness, "go")]
    report = run_pool(jobs.wear_and, items, workers=1, progress=False)
    crashed, other = report.outcomes
    assert crashed.outcome is AttemptOutcome.CRASH
    assert other.value == "go"
    assert (len(report.facts.worker_exits), report.facts.workers_recycled) == (1, {})


def test_worker_that_asks_for_it_is_replaced_after_its_job(witness):
    items = [(witness, "wear"), (witness, "go"), (witness, "wear"), (witness, "go")]
    report = run_pool(jobs.wear_and, items, workers=1, progress=False)
    assert report.results == [what for _, what in items]
    assert list(runs_by_process(witness).values()) == [1, 2, 1]
    assert report.facts.workers_recycled == {"left threads": 2}


@pytest.mark.slow
def test_worker_that_does_not_end_is_killed_and_no_job_is_charged(witness):
    items = [(witness, "hang at exit"), (witness, "go")]
    report = run_pool(jobs.wear_and, items, workers=1, max_jobs_per_worker=1, progress=False)
    assert report.results == ["hang at exit", "go"]
    assert report.facts.attempts == {AttemptOutcome.SUCCESS: 2}
    assert report.facts.workers_recycled == {"max_jobs_per_worker": 2}
    assert report.facts.worker_exits == ()


@pytest.mark.parametrize(
    "options",
    [
        {"max_jobs_per_worker": 0},
        {"max_jobs_per_worker": 1.5},
        {"max_jobs_per_worker": True},
        {"max_worker_memory": 0},
        {"max_worker_memory": "0MiB"},
        {"max_worker_memory": "much"},
        {"max_worker_memory": 1.5},
        {"max_worker_age": 0},
        {"max_worker_age": -1},
        {"max_worker_age": "1h"},
    ],
    ids=str,
)
def test_limit_that_cannot_be_is_refused(options):
    [name] = options
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        run_pool(jobs.square, [1], progress=False, **options)
