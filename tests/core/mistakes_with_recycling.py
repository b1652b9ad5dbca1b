"""One-line mistakes in how ``knock/core`` replaces workers; see ``mistakes.py``."""

from tests.core.mutant import Mutant

RECYCLING_MUTANTS = [
    Mutant(
        "a worker is sent more than it may run",
        "dispatch",
        "room = min(share, slot.quota - slot.handed)",
        "room = share",
    ),
    Mutant(
        "a job that came back unrun counts",
        "machine",
        "        slot.handed -= len(flights)",
        "        pass",
    ),
    Mutant(
        "all retire at their own limits, however many do",
        "recycling",
        "for other in self._slots) < self._at_once",
        "for other in self._slots) < 99",
    ),
    Mutant(
        "nobody retires before it must",
        "recycling",
        "may = _reached(slot, slot.soft, now)",
        "may = None",
    ),
    Mutant(
        "a worker that must retire waits for others",
        "recycling",
        "must = _reached(slot, slot.hard, now) if slot.worn is None else slot.worn",
        "must = slot.worn",
    ),
    Mutant(
        "the next process does not count as retiring",
        "fleet",
        "        slot.reset()\n",
        "        slot.reset()\n        slot.is_renewing = False\n",
    ),
    Mutant(
        "age wakes nobody",
        "fleet",
        "            moments.extend(self._recycling.deadlines())",
        "            pass",
    ),
    Mutant(
        "jobs for a worker that retires",
        "slot",
        "            self.phase is Phase.READY\n",
        "            self.phase in AT_WORK\n",
    ),
    Mutant(
        "what waits for a worn worker stays there",
        "recycling",
        "elif slot.worn is not None or slot.retires_for is not RecycleReason.MAX_JOBS:",
        "elif False:",
    ),
    Mutant(
        "a retired worker is told to end while it has jobs",
        "recycling",
        "if slot.phase is Phase.RETIRING and not slot.revoking:",
        "if slot.phase is Phase.RETIRING:\n                slot.window.clear()",
    ),
    Mutant(
        "no limits in a worker that retires",
        "fleet",
        "            elif slot.phase in AT_WORK:\n                slot.wake_at = None",
        "            elif slot.phase is Phase.READY:\n                slot.wake_at = None",
    ),
    Mutant(
        "a recycled worker is replaced late",
        "fleet",
        "        slot.start_at = now\n        if is_early:",
        "        slot.start_at = now + 0.01\n        if is_early:",
    ),
    Mutant(
        "a recycled worker is told as one that died",
        "recycling",
        "    return str(slot.retires_for)",
        "    return None",
    ),
]
