"""The storage in memory does what the naive one does, whatever is asked of it."""

import pickle

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from knock.core.job import Attempt, AttemptOutcome, JobSpec, JobState, Settlement, Spent, Usage
from knock.storage.memory import InMemoryStorage
from tests.storage.model import ListStorage

IDS = st.integers(1, 12)
MANY_IDS = st.lists(IDS, max_size=6)
TYPES = st.sampled_from(["a", "b", "c"])
SECONDS = st.sampled_from([0.0, 1.0, 2.0, 5.0])
FAILED = Attempt(1, AttemptOutcome.ERROR, Usage(0.0, 0.1, 0.1, 0, 0), 0.0)
SUPERVISORS = st.sampled_from(["", "s1", "s2"])


class MemoryMatchesTheModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.memory = InMemoryStorage()
        self.model = ListStorage()
        self.now = 100.0
        self.claims = []

    def both(self, method, *args, **kwargs):
        got = getattr(self.memory, method)(*args, **kwargs)
        expected = getattr(self.model, method)(*args, **kwargs)
        assert got == expected, f"{method}{args}{kwargs}"
        return got

    @rule(seconds=SECONDS)
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        rows=st.lists(
            st.tuples(
                IDS,
                TYPES,
                st.integers(0, 2),
                st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0]),
                st.sampled_from([None, None, 0.0, 2.0, 4.0]),
                st.sampled_from([None, None, "k1", "k2"]),
            ),
            max_size=8,
        )
    )
    def enqueue(self, rows):
        specs = [
            JobSpec(
                id=job_id,
                type=job_type,
                payload=b"x",
                priority=priority,
                run_at=self.now + delay,
                created_at=self.now,
                expires_at=None if expires_in is None else self.now + expires_in,
                key=key,
            )
            for job_id, job_type, priority, delay, expires_in, key in rows
        ]
        self.both("enqueue", specs, now=self.now)

    @rule(
        limit=st.integers(0, 6),
        places=st.none() | st.dictionaries(TYPES, st.integers(0, 2)),
        supervisor=SUPERVISORS,
    )
    def claim(self, limit, places, supervisor):
        self.claims += self.both(
            "claim", limit, now=self.now, places=places, supervisor=supervisor
        ).jobs

    @rule(data=st.data())
    def settle(self, data):
        chosen = (
            data.draw(st.lists(st.sampled_from(self.claims), max_size=4)) if self.claims else []
        )
        settlements = []
        for claim in chosen:
            state = data.draw(st.sampled_from(sorted(set(JobState) - {JobState.PROCESSING})))
            attempt = data.draw(st.sampled_from([None, FAILED]))
            settlements.append(
                Settlement(
                    claim.job.id,
                    claim.token,
                    state,
                    attempt,
                    spent=data.draw(st.sampled_from([None, Spent(failures=1)])),
                    run_at=self.now + 1.0 if attempt is not None else None,
                    result=b"value" if state is JobState.COMPLETED else None,
                    reason="poison" if state is JobState.DEAD else None,
                )
            )
        self.both("settle", settlements, now=self.now)

    @rule(job_ids=MANY_IDS)
    def cancel(self, job_ids):
        self.both("cancel", job_ids, now=self.now)

    @rule(job_ids=MANY_IDS)
    def requeue(self, job_ids):
        self.both("requeue", job_ids, now=self.now)

    @rule(
        job_ids=st.none() | MANY_IDS,
        state=st.none() | st.sampled_from(JobState),
        age=st.none() | SECONDS,
        job_type=st.none() | TYPES,
    )
    def purge(self, job_ids, state, age, job_type):
        before = None if age is None else self.now - age
        self.both("purge", job_ids, state=state, before=before, job_type=job_type)

    @rule(supervisor=SUPERVISORS)
    def heartbeat(self, supervisor):
        self.both("heartbeat", supervisor, now=self.now)

    @rule(lease_seconds=st.sampled_from([2.0, 5.0]))
    def reclaim(self, lease_seconds):
        def by_id(claim):
            return claim.job.id

        got = self.memory.reclaim(now=self.now, lease_seconds=lease_seconds)
        expected = self.model.reclaim(now=self.now, lease_seconds=lease_seconds)
        assert sorted(got, key=by_id) == sorted(expected, key=by_id)
        self.claims += got

    @rule()
    def travel(self):
        self.memory = pickle.loads(pickle.dumps(self.memory))

    @rule(state=st.sampled_from(JobState), limit=st.integers(0, 5), newest_first=st.booleans())
    def find(self, state, limit, newest_first):
        self.both("find", state=state, limit=limit, newest_first=newest_first)
        self.both("find", state=state, job_type="a", limit=limit, newest_first=newest_first)

    @invariant()
    def all_jobs_are_equal(self):
        self.both("get", list(range(14)))

    @invariant()
    def counts_are_equal(self):
        self.both("counts", now=self.now)


TestMemoryMatchesTheModel = MemoryMatchesTheModel.TestCase
TestMemoryMatchesTheModel.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None
)
