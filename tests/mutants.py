"""One-line mistakes in ``knock/core``, each of which the simulation must find.

    python -m tests.mutants            all of them, in a table; exits 1 if one survives
    python -m tests.mutants --quick    every sixth

The tree is never written: each mutant lives in a process of its own, whose import of one module
reads the changed text.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType

from tests.core.mistakes import MUTANTS
from tests.core.mutant import Mutant

STEPS = 200_000
STEPS_PER_SEED = 2_000
ROOT = Path(__file__).parent.parent
# A mutant that runs in circles is found as well, by this many seconds.
TIMEOUT = 180.0


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed text; never reads or writes byte code."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        source = self.mutant.mutate(Path(self.path).read_text(encoding="utf-8"))
        return compile(source, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"knock.core.{self._mutant.module}":
            return None
        file = ROOT / "knock" / "core" / f"{self._mutant.module}.py"
        loader = _Loader(fullname, str(file))
        loader.mutant = self._mutant
        return importlib.machinery.ModuleSpec(fullname, loader, origin=str(file))


def hunt(mutant: Mutant) -> dict[str, object]:
    """Simulate with the mistake, in this very process, until it is found or may live."""
    sys.meta_path.insert(0, _Finder(mutant))
    from tests.core.world import SimulationError, World

    steps = seed = 0
    while steps < STEPS:
        world = World(seed)
        try:
            world.run(STEPS_PER_SEED)
        except SimulationError as exc:
            why = str(exc).partition("\n")[0].partition(": ")[2]
            return {"is_found": True, "steps": steps + world.steps, "seed": seed, "why": why}
        steps += world.steps
        seed += 1
    return {"is_found": False, "steps": steps, "seed": seed, "why": "it survived"}


def hunt_apart(index: int) -> dict[str, object]:
    """Hunt in a new process."""
    command = [sys.executable, "-m", "tests.mutants", "--hunt", str(index)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return {"is_found": True, "steps": 0, "seed": 0, "why": "it never ends"}
    if done.returncode:
        raise RuntimeError(f"{MUTANTS[index].name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every sixth only")
    parser.add_argument("--hunt", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hunt is not None:
        print(json.dumps(hunt(MUTANTS[args.hunt])))
        return 0
    chosen = range(0, len(MUTANTS), 6 if args.quick else 1)
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for index, found in zip(chosen, threads.map(hunt_apart, chosen), strict=True):
            mutant = MUTANTS[index]
            survivors += not found["is_found"]
            mark = "found" if found["is_found"] else "ALIVE"
            print(f"{mark} {found['steps']:>7} steps  {mutant.module:<9} {mutant.name}")
            print(f"      {found['why']}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
