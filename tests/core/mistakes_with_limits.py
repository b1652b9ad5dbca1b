"""One-line mistakes in what ``knock/core`` makes of limits; see ``mistakes.py``."""

from tests.core.mutant import Mutant

LIMIT_MUTANTS = [
    Mutant(
        "a stall is counted from the start",
        "limit",
        "max(started_at, min(reading.progress_at, now))",
        "started_at",
    ),
    Mutant(
        "a job that has shown progress once never stalls",
        "limit",
        "max(started_at, min(reading.progress_at, now))",
        "now if reading.progress_at else started_at",
    ),
    Mutant(
        "a job that runs at its deadline runs on",
        "limit",
        "ends.append((job.deadline, KillCause.DEADLINE))",
        "pass",
    ),
    Mutant(
        "nobody looks before the timeout",
        "limit",
        "after = kind.first_look",
        "after = None",
    ),
    Mutant(
        "nobody looks at the deadline",
        "limit",
        "if deadline is not None and (look_at is None or deadline < look_at):",
        "if deadline is not None and look_at is not None and deadline < look_at:",
    ),
    Mutant(
        "memory is looked at once",
        "limit",
        "looks.append(now + MEMORY_LOOK_SECONDS)",
        "pass",
    ),
    Mutant(
        "memory is not looked at",
        "fleet",
        "weighed[slot.number] = limit",
        "pass",
    ),
    Mutant(
        "memory over the limit is let be",
        "limit",
        "reading.rss_bytes > policy.memory_limit",
        "reading.rss_bytes < 0",
    ),
    Mutant(
        "a job is warned again and again",
        "fleet",
        "flight.is_warned = True",
        "pass",
    ),
    Mutant(
        "a job is warned whose start is only guessed",
        "limit",
        "warn_at <= now and reading.ticket == flight.ticket",
        "warn_at <= now",
    ),
    Mutant(
        "a worker that begins nothing is waited for",
        "dispatch",
        "if len(slot.window) > 1 else START_SECONDS",
        "if len(slot.window) > 1 else 1e9",
    ),
    Mutant(
        "a worker that has not begun is given up at the first look",
        "fleet",
        "late_at = self._still.after(slot.late_at) + CONFIRM_SECONDS",
        "late_at = now",
    ),
    Mutant(
        "a worker is given up though it has another job to begin",
        "dispatch",
        "    slot.head_at = now\n    slot.late_at = None\n",
        "    slot.head_at = slot.head_at or now\n",
    ),
    Mutant(
        "a limit counts the time in which the clock stood still",
        "limit",
        "counts_from = still.after(started_at)",
        "counts_from = started_at",
    ),
    Mutant(
        "a stall counts the time in which the clock stood still",
        "limit",
        "still.after(sign_of_life) + policy.stall_timeout",
        "sign_of_life + policy.stall_timeout",
    ),
    Mutant(
        "a deadline is put off by a clock that stood still",
        "limit",
        "ends.append((job.deadline, KillCause.DEADLINE))",
        "ends.append((job.deadline + counts_from - started_at, KillCause.DEADLINE))",
    ),
    Mutant(
        "a clock that stood still counts for what began later",
        "standstill",
        "            if until > instant:\n",
        "            if True:\n",
    ),
    Mutant(
        "what begins while the clock stands still is forgiven all of it",
        "standstill",
        "until - max(since, instant)",
        "until - since",
    ),
    Mutant(
        "a clock that stood still is forgotten while something runs",
        "fleet",
        "self._still.forget(min(heads, default=now))",
        "self._still.forget(now)",
    ),
    Mutant(
        "a worker is given up for the time in which the clock stood still",
        "fleet",
        "self._still.after(sent_at) + START_SECONDS",
        "sent_at + START_SECONDS",
    ),
    Mutant(
        "a worker has not ended in the time in which the clock stood still",
        "fleet",
        "slot.wake_at += seconds",
        "pass",
    ),
    Mutant(
        "a kill for memory is called a timeout",
        "tribunal",
        "KillCause.MEMORY: AttemptOutcome.OUT_OF_MEMORY",
        "KillCause.MEMORY: AttemptOutcome.TIMEOUT",
    ),
    Mutant(
        "a retry is put behind the deadline",
        "tribunal",
        "deadline <= now + verdict.delay",
        "deadline <= now",
    ),
]
