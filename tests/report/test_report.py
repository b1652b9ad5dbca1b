import json
import pickle

import pytest

from knock.core.job import AttemptOutcome, JobState, Usage
from knock.errors import JobCancelledError, JobsFailedError
from knock.report import PoolReport
from knock.report.failure import item_text, kind_of
from knock.report.table import MAX_COLUMNS
from knock.resources import HostFacts
from knock.supervisor.facts import BreakerChange, WorkerExit
from knock.text import display_width
from tests.report.build import SEGFAULT, a_dead, a_record, a_report, an_attempt, an_error

VALUE_ERROR = an_error(ValueError("bad frame"))


def a_mixed_report(**facts):
    return a_report(
        a_record(value=1, job_id=1),
        a_record(value=2, job_id=2, job_type="hash"),
        a_dead(AttemptOutcome.ERROR, error=VALUE_ERROR, job_id=3),
        a_dead(AttemptOutcome.ERROR, error=VALUE_ERROR, job_id=4),
        a_dead(AttemptOutcome.CRASH, reason="poison", death=SEGFAULT, job_id=5),
        a_record(JobState.CANCELLED, job_id=6),
        a_record(JobState.QUEUED, job_id=8),
        **facts,
    )


def test_results_are_the_values_in_the_order_of_the_input():
    report = a_report(a_record(value="a", job_id=2), a_record(value="b", job_id=1))
    assert report.results == ["a", "b"]
    assert (report.ok, report.exit_code, report.failures) == (True, 0, [])
    report.raise_if_failed()


def test_results_of_a_batch_with_failures_raise_and_the_report_goes_along():
    report = a_mixed_report()
    with pytest.raises(JobsFailedError) as caught:
        _ = report.results
    assert caught.value.report is report
    assert "2 of 7 jobs" in str(caught.value)
    assert "2 x error ValueError" in str(caught.value)
    assert (report.ok, report.exit_code) == (False, 1)
    assert [outcome.job_id for outcome in report.failures] == [3, 4, 5, 6, 8]


def test_values_fill_the_gaps():
    report = a_report(a_record(value=1), a_dead(AttemptOutcome.TIMEOUT), a_record(value=3))
    assert report.values() == [1, None, 3]
    assert report.values(default=0) == [1, 0, 3]


def test_an_empty_batch_is_fine():
    report = a_report()
    assert (report.results, report.ok) == ([], True)
    assert "0 jobs completed" in str(report)
    json.loads(report.to_json())


def test_an_instant_batch_divides_by_nothing():
    report = a_report(a_record(), ended_at=1000.0)
    assert report.to_dict()["jobs_per_second"] == 0.0
    assert report.to_dict()["utilisation"] == 0.0
    str(report)


def test_the_dict_has_the_numbers():
    more = {"stale_results": 2, "stopped_by": "rule", "workers_recycled": {"left threads": 3}}
    data = a_mixed_report(**more).to_dict(outcomes=True)
    assert (data["seconds"], data["workers"], data["utilisation"]) == (10.0, 2, 0.75)
    assert data["jobs_per_second"] == pytest.approx(0.6)
    assert {name: data[name] for name in more} == more
    assert data["total"]["states"] == {
        "queued": 1,
        "processing": 0,
        "completed": 2,
        "dead": 3,
        "cancelled": 1,
    }
    assert data["total"]["outcomes"]["error"] == 2
    assert data["total"]["attempts"] == 5
    assert set(data["types"]) == {"render", "hash"}
    assert data["types"]["hash"]["cpu_seconds"]["total"] == 0.25
    assert data["host"]["cpu_count"] == 8
    crash = data["outcomes"][4]
    assert crash["job_id"] == 5
    assert (crash["reason"], crash["error"]["type"]) == ("poison", "WorkerCrashedError")
    assert crash["attempts"][0]["signal"] == 11


def test_processes_left_behind_take_one_line_and_only_if_there_were_any():
    littered = an_attempt(usage=Usage(1000.0, 1.0, 1.0, 0, 0, leftover_processes=2))
    report = a_report(
        a_record(JobState.COMPLETED, littered, littered),
        a_record(JobState.COMPLETED, littered, job_type="hash"),
        a_record(),
    )
    assert "2 jobs left 6 processes behind; killed" in str(report).splitlines()
    data = report.to_dict(outcomes=True)
    assert data["types"]["render"]["leftover_processes"] == 4
    assert data["outcomes"][0]["attempts"][0]["leftover_processes"] == 2
    one = Usage(1000.0, 1.0, 1.0, 0, 0, leftover_processes=1, leftover_threads=3)
    report = a_report(a_record(JobState.COMPLETED, an_attempt(usage=one)))
    assert "1 job left 1 process behind; killed" in str(report).splitlines()
    assert "behind" not in str(a_report(a_record()))


def test_the_json_is_the_dict():
    report = a_mixed_report()
    assert json.loads(report.to_json(outcomes=True)) == json.loads(
        json.dumps(report.to_dict(outcomes=True))
    )


def test_the_text_tells_everything_and_keeps_to_its_width():
    report = a_mixed_report(
        worker_exits=(WorkerExit(at=1001.0, worker=0, cause="killed by SIGSEGV"),) * 3,
        workers_recycled={"left threads": 2, "max_jobs_per_worker": 1200},
        breaker_changes=(BreakerChange(at=1002.5, job_type="render", state="open"),),
        stopped_by="5 of 7 finished jobs died",
        stale_results=4,
    )
    text = str(report)
    for part in (
        "2 of 7 jobs completed in 10.0 s on 2 workers",
        "2 x error ValueError",
        "0.6 jobs/s",
        "75% busy",
        "peak memory 200.0 MiB",
        "stopped early: 5 of 7 finished jobs died",
        "late results that changed nothing: 4",
        "bad frame",
        "e.g. item 2 (job 3): 3",
        "3 x killed by SIGSEGV",
        "workers recycled: 1,202 (1,200 x max_jobs_per_worker, 2 x left threads)",
        "after 2.5 s: render open",
        "8 cores (4 physical), load 1.00 2.00 3.00",
        "8.0 GiB of 16.0 GiB free",
        "nearest rank",
    ):
        assert part in text
    assert max(map(display_width, text.splitlines())) <= MAX_COLUMNS
    assert text.isascii()


def test_the_text_of_hostile_jobs_is_harmless():
    evil = "\x1b[2J\nroot: forged\u202e\ud800\x9b" + "wide 漢字 " * 50
    report = a_report(
        a_dead(AttemptOutcome.ERROR, error=an_error(ValueError(evil)), job_type=evil),
        a_record(job_type="x" * 300),
        items=[evil, _Unprintable()],
        worker_exits=(WorkerExit(at=1.0, worker=0, cause=evil),),
        workers_recycled={evil: 1},
        breaker_changes=(BreakerChange(at=1.0, job_type=evil, state="open"),),
        stopped_by=evil,
    )
    text = str(report)
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(display_width, text.split("\n"))) <= MAX_COLUMNS
    assert not any(line.startswith("root:") for line in text.split("\n"))
    text.encode()
    assert report.summary().isprintable()


class _Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


class _Raising:
    def __init__(self, error):
        self.error = error

    def __repr__(self):
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), BaseException()])
def test_an_item_that_cannot_be_shown_does_not_end_the_caller(error):
    report = a_report(a_dead(AttemptOutcome.TIMEOUT), items=[_Raising(error)])
    assert "<_Raising>" in str(report)
    with pytest.raises(KeyboardInterrupt):
        item_text(_Raising(KeyboardInterrupt()))


def test_the_error_of_a_failed_batch_says_what_went_wrong():
    cancelled, dead = a_record(JobState.CANCELLED), a_dead(AttemptOutcome.ERROR, error=VALUE_ERROR)
    report = a_report(a_record(), cancelled, dead, items=["a", "b", {"frame": "x" * 1000}])
    with pytest.raises(JobsFailedError) as caught:
        _ = report.results
    assert isinstance(caught.value.__cause__, ValueError)
    assert str(caught.value).startswith("1 of 3 jobs completed in 10.0 s on 2 workers; ")
    assert "; item 2 ({'frame': 'xxx" in str(caught.value)
    assert str(caught.value).endswith("): ValueError: bad frame")
    with pytest.raises(JobsFailedError, match=r"item 0 \('b'\): JobCancelledError") as caught:
        a_report(cancelled, items=["b"]).raise_if_failed()
    assert isinstance(caught.value.__cause__, JobCancelledError)
    long = an_error(ValueError("line\n" * 10_000))
    with pytest.raises(JobsFailedError) as caught:
        a_report(a_dead(AttemptOutcome.ERROR, error=long)).raise_if_failed()
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_restored_jobs_have_a_column_of_their_own_and_no_figures():
    report = a_report(a_record(), a_record(), a_record(job_type="hash"))
    assert "restored" not in str(report)
    report.outcomes[1].is_restored = report.outcomes[2].is_restored = True
    report = PoolReport(report.outcomes, report.facts, report.host)
    data = report.to_dict(outcomes=True)
    assert (data["ok"], data["jobs_per_second"]) == (True, 0.1)
    assert [data["total"][key] for key in ("jobs", "restored", "attempts")] == [3, 2, 1]
    assert data["types"]["hash"]["restored"] == 1
    assert data["types"]["hash"]["wall_seconds"]["total"] == 0.0
    assert [o["is_restored"] for o in data["outcomes"]] == [False, True, True]
    assert report.outcomes[1].wall_seconds == 0.5
    assert "restored" in str(report)
    assert repr(report.outcomes[1]).endswith("1 attempt, last success, restored>")
    assert max(map(display_width, str(report).splitlines())) <= MAX_COLUMNS


def test_one_of_a_thing_is_not_many():
    assert a_report(a_record(), workers=1).summary() == "1 job completed in 10.0 s on 1 worker"
    failed = a_report(a_record(JobState.CANCELLED), workers=1).summary()
    assert failed == "0 of 1 job completed in 10.0 s on 1 worker; 1 x cancelled"
    assert "1 attempt," in repr(a_report(a_record()).outcomes[0])
    changes = (BreakerChange(at=1002.5, job_type="render", state="open"),)
    assert "breakers: 1 change\n" in str(a_report(a_record(), breaker_changes=changes))


def test_items_are_shown_short():
    assert item_text(_Unprintable()).startswith("<_Unprintable")
    assert len(item_text("x" * 10**6)) < 100
    assert len(item_text(b"x" * 10**6)) < 200
    assert len(item_text({"a": ["b" * 1000] * 1000})) <= 120


def test_many_types_and_kinds_are_cut_and_counted():
    records = [a_dead(AttemptOutcome.ERROR, error=VALUE_ERROR, job_type=f"t{i}") for i in range(50)]
    text = str(a_report(*records))
    assert "and 30 more job types" in text
    assert "and 30 more kinds of failure" in text
    assert len(text.splitlines()) < 250
    assert a_report(*records).summary().count("error ValueError") == 1


@pytest.mark.parametrize(
    "record, kind",
    [
        (a_dead(AttemptOutcome.ERROR, error=VALUE_ERROR), "error ValueError"),
        (a_dead(AttemptOutcome.CRASH, death=SEGFAULT), "crash killed by SIGSEGV"),
        (a_dead(AttemptOutcome.CRASH), "crash"),
        (a_dead(AttemptOutcome.OUT_OF_MEMORY), "out of memory"),
        (a_dead(AttemptOutcome.TIMEOUT), "timeout"),
        (a_dead(AttemptOutcome.ERROR, reason="discarded: why"), "discarded"),
        (a_record(JobState.DEAD, reason="expired"), "expired"),
        (a_record(JobState.CANCELLED), "cancelled"),
        (a_record(JobState.QUEUED), "not finished"),
    ],
)
def test_kinds_of_failure(record, kind):
    assert kind_of(record) == kind


def test_figures_that_were_not_measured_are_marked():
    usage = Usage(1000.0, 1e-5, 1e-5, 50 << 20, 40 << 20, False)
    text = str(a_report(a_record(JobState.COMPLETED, an_attempt(usage=usage))))
    assert "~50.0 MiB" in text
    assert "~ some jobs were too short" in text


def test_the_host_is_looked_at_when_asked_for():
    report = a_report(a_record(), host=None)
    assert isinstance(report.host, HostFacts)
    assert report.host is report.host
    assert report.host.cpu_count >= 1
    assert 0 < report.host.memory_available_bytes <= report.host.memory_total_bytes


def test_a_failed_batch_can_be_pickled_with_its_report():
    with pytest.raises(JobsFailedError) as caught:
        a_mixed_report().raise_if_failed()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.report.summary() == caught.value.report.summary()
