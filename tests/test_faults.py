"""The catalogue of faults is whole, its tests are there, and the docs show it."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.faults import GROUPS
from tests.faults.row import Fault
from tests.process.catalogue import CATALOGUE

ROOT = Path(__file__).parent.parent
FAULTS = [fault for faults in GROUPS.values() for fault in faults]
KEYS = [
    *(f"W{number}" for number in range(1, 49)),
    *(f"S{number}" for number in (3, 4, 5, 6, 7, 13, 14, 15, 32, 33, 34, 35, 36)),
    *(f"C{number}" for number in range(1, 23)),
    *(f"B{number}" for number in range(1, 15)),
]


def test_every_fault_is_there_once_in_order():
    assert [fault.key for fault in FAULTS] == KEYS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.key)
def test_a_fault_names_tests_that_exist_or_says_why_it_has_none(fault):
    assert fault.what
    assert fault.tests or fault.why
    assert bool(fault.done) == bool(fault.tests)
    assert [test for test in fault.tests if not exists(test)] == []


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    return name in names_of(ROOT / "tests" / path)


@cache
def names_of(path: Path) -> frozenset[str]:
    """Return the test functions and classes of a module."""
    if not path.exists():
        return frozenset()
    kinds = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse(path.read_text()).body
    found = {node.name for node in body if isinstance(node, kinds)}
    return frozenset(name for name in found if name.lower().startswith("test"))


def test_a_name_that_is_no_test_is_found_out():
    assert exists("test_faults.py::test_a_name_that_is_no_test_is_found_out")
    assert not exists("test_faults.py::exists")
    assert not exists("test_faults.py::test_nothing")
    assert not exists("nowhere/test_faults.py::test_nothing")


def test_what_a_job_can_do_is_played_unless_it_says_so():
    run = {row.key for row in CATALOGUE if not row.not_run}
    faults = [fault for fault in FAULTS if fault.key.startswith("W")]
    assert {fault.key for fault in faults if not fault.why} == run


def table(faults: list[Fault]) -> str:
    """Return them as the docs show them."""
    return "\n".join(["| | what happens | what is done |", "|---|---|---|", *map(line, faults)])


def line(fault: Fault) -> str:
    done = fault.done or f"*open:* {fault.why}"
    if fault.tests and fault.why:
        done += f"; *open:* {fault.why}"
    path = f"/{fault.tests[0].partition('::')[0]}" if fault.tests else ""
    return f"| [{fault.key}](../tests{path}) | {fault.what} | {done} |"


@pytest.mark.parametrize("group", GROUPS)
def test_the_docs_show_each_group_as_it_is(group):
    text = (ROOT / "docs" / "faults.md").read_text()
    _, _, section = text.partition(f"## {group}\n")
    section = section.partition("\n## ")[0]
    assert table(GROUPS[group]) in section
