"""What is counted of a run, however long it is."""

from knock.core.commands import Notice, NoticeName
from knock.core.job import Death
from knock.supervisor.tally import Tally


def test_the_last_exits_are_kept_and_all_are_counted_by_cause():
    tally = Tally(workers=2, started_at=0.0)
    for number in range(1500):
        cause = "killed by SIGKILL" if number % 3 else f"exited with code {number}"
        death = Death(cause=cause, pid=number)
        tally.noticed(Notice(NoticeName.WORKER_EXITED, float(number), worker=1, death=death))
    facts = tally.facts(2000.0)
    assert [one.pid for one in facts.worker_exits] == list(range(500, 1500))
    assert facts.exit_causes["killed by SIGKILL"] == 1000
    # A job can end its worker with any code: there is no end of different causes.
    assert len(facts.exit_causes) == 101
    assert facts.exit_causes["other reasons"] == 500 - 99
    assert sum(facts.exit_causes.values()) == 1500
