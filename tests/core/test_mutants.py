"""The simulation finds mistakes; ``python -m tests.mutants`` makes all of them."""

import pytest

from tests.core.mistakes import MUTANTS
from tests.mutants import ROOT, hunt_apart


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_still_fits_the_source(mutant):
    file = ROOT / "knock" / "core" / f"{mutant.module}.py"
    source = file.read_text(encoding="utf-8")
    mutated = mutant.mutate(source)
    assert mutated != source
    compile(mutated, str(file), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("index", range(0, len(MUTANTS), 6))
def test_simulation_finds_the_mistake(index):
    assert hunt_apart(index)["is_found"]
