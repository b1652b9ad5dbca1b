"""The figures keep their bars, at small sizes. In full: ``python -m tests.figures all``.

A rate is measured and printed, but is no test's verdict: it depends on what else the machine does.
"""

import importlib

import pytest

from tests.figures.__main__ import NAMES


@pytest.mark.process
@pytest.mark.serial
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_figure_keeps_its_bar(name):
    rows = list(importlib.import_module(f"tests.figures.{name}").rows(quick=True))
    assert rows
    print(*rows, sep="\n")
    assert [str(row) for row in rows if not row.ok and not row.is_speed] == []
