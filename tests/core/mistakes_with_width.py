"""Mistakes in how jobs that take several slots are handed out."""

from tests.core.mutant import Mutant

WIDTH_MUTANTS = [
    Mutant(
        "slots that are taken count as free",
        "width",
        "return len(self._slots) - sum(slot.threads for slot in self._slots)",
        "return len(self._slots)",
    ),
    Mutant(
        "a slot that is taken in this turn stays free",
        "dispatch",
        "            turn.free -= kind.policy.threads",
        "            pass",
    ),
    Mutant(
        "small jobs overtake one that lacks slots",
        "dispatch",
        "            return _Fit.SLOT_FULL  # nothing behind it may go to the slot instead",
        "            return _Fit.HELD_BACK",
    ),
    Mutant(
        "a wide job waits in a window",
        "width",
        "return slot.threads == 1 and not kind.is_wide",
        "return slot.threads == 1",
    ),
    Mutant(
        "jobs wait behind a wide one",
        "width",
        "return slot.threads == 1 and not kind.is_wide",
        "return not kind.is_wide",
    ),
    Mutant(
        "a wide job takes one slot",
        "width",
        "Demand(slots=kind.policy.threads)",
        "Demand(slots=1)",
    ),
    Mutant(
        "slots that were kept become free and wake nobody",
        "machine",
        "            docket.intake.wake()",
        "            pass",
    ),
    Mutant(
        "what waits behind a wide job keeps more urgent ones out",
        "dispatch",
        "        if waiting is not None and here < most:",
        "        if False:",
    ),
    Mutant(
        "small jobs go to and fro while all slots are taken",
        "dispatch",
        "        if self._width.is_tight and self._width.free() < 1:",
        "        if False:",
    ),
]
