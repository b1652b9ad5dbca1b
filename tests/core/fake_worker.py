"""A worker without a process: what it holds, what it has said, and what the machine knows of it."""

from collections import deque

from knock.core import commands as cmd, events as ev
from tests.core.truth import Job

BOOTING, READY, DEAD = "booting", "ready", "dead"


class Run:
    """One job handed to one process under one ticket."""

    __slots__ = (
        "goes_back",
        "hangs",
        "is_guarded",
        "is_honest",
        "is_known",
        "is_mute",
        "is_warned",
        "is_weighed",
        "job",
        "looks",
        "progress_at",
        "rss",
        "rss_before",
        "rss_seen",
        "seen_at",
        "sent_at",
        "shown_at",
        "sign_seen",
        "started_at",
        "taken_at",
        "ticket",
        "wears",
    )

    def __init__(self, ticket: int, job: Job, now: float) -> None:
        self.ticket, self.job, self.sent_at = ticket, job, now
        self.goes_back = False  # a job of its type has failed before it
        self.hangs = False
        self.rss_before = 0  # what its worker kept when it started
        self.wears = False  # its worker wants to be replaced after it
        self.is_guarded = False  # a failure of it sends back what follows of its type
        self.is_known = False  # the machine has asked for it in vain: it has started
        self.taken_at = 0.0  # 0: it has not started
        self.started_at: float | None = None  # as the ledger says
        self.is_honest = True  # and whether it is true
        self.looks = 0  # answers to the machine that showed it
        self.seen_at: float | None = None  # when the machine first heard that it is taken
        self.shown_at: float | None = None  # ... and of the start
        self.progress_at = self.sign_seen = 0.0  # its last progress, and what of it was heard
        self.rss = self.rss_seen = 0  # the same of its memory
        self.is_warned = self.is_weighed = self.is_mute = False


class Hand:
    """A worker process. ``view`` is the window that the machine must believe in."""

    __slots__ = (
        "channel",
        "failing",
        "generation",
        "handed",
        "is_deaf",
        "is_known_ready",
        "is_known_worn",
        "is_stopping",
        "is_used",
        "is_worn",
        "kept_bytes",
        "kill",
        "looked_at",
        "looks",
        "number",
        "permits",
        "phase",
        "ready_at",
        "retires_for",
        "revoking",
        "rss_bytes",
        "running",
        "started",
        "stops_at",
        "told",
        "touched_at",
        "view",
    )

    def __init__(self, number: int, generation: int) -> None:
        self.number, self.generation = number, generation
        self.phase = BOOTING
        self.permits: deque[Run] = deque()
        self.running: Run | None = None
        self.failing: set[str] = set()
        self.channel: deque = deque()  # written by the worker, not read by the pool
        self.told: deque = deque()  # read by the pool, not heard by the machine
        self.view: dict[int, Run] = {}
        self.is_known_ready = self.is_deaf = False
        self.is_stopping = False
        self.stops_at = 0.0  # when it was told to end
        self.ready_at = 0.0  # when the machine heard of it
        self.handed = 0  # jobs sent that did not come back unrun
        self.started = 0  # jobs that it really ran
        self.rss_bytes = 100
        self.kept_bytes = 0  # as far as the machine can know
        self.is_used = False  # it was sent a job
        self.is_worn = self.is_known_worn = False  # it wants to be replaced; the machine was told
        self.retires_for: str | None = None  # why the machine must be replacing it
        self.revoking: deque = deque()  # what was wanted back, an entry for each answer to come
        self.kill: cmd.KillCause | None = None  # the one that the machine waits for
        self.looks: deque[Run | None] = deque()  # what ran at each look not yet answered
        self.touched_at = self.looked_at = 0.0

    def read(self, limit: int) -> object | None:
        """Read up to so many messages of one kind from the channel, as an event."""
        channel = self.channel
        if not channel:
            return None
        if isinstance(channel[0], ev.AttemptEnded):
            ended = []
            while channel and len(ended) < limit and isinstance(channel[0], ev.AttemptEnded):
                ended.append(channel.popleft())
            return ev.AttemptsEnded(self.number, self.generation, ended)
        if isinstance(channel[0], str):
            return ev.WorkerWorn(self.number, self.generation, channel.popleft())
        tickets = []
        while channel and len(tickets) < limit and isinstance(channel[0], int):
            tickets.append(channel.popleft())
        return ev.JobsHandedBack(self.number, self.generation, tickets)

    def drain(self) -> None:
        """Read the channel to its end."""
        while self.channel:
            self.told.append(self.read(5))
