"""knock passes the probes that are in the docs."""

import subprocess
import sys
from pathlib import Path

import pytest

from perf.probes.__main__ import PROBES, judge_answers

ROOT = Path(__file__).parent.parent
ANSWERS = ["ok"] * 3 + ["failed"] + ["ok"] * 4


@pytest.mark.process
@pytest.mark.serial
@pytest.mark.slow
def test_knock_passes_all_probes():
    run = subprocess.run(
        [sys.executable, "-m", "perf.probes", "--peers", "knock"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("**") == 2 * len(PROBES)


@pytest.mark.parametrize(
    "answers, after, passed, text",
    [
        (ANSWERS, "ok", True, "only that one"),
        (["ok"] * 8, "ok", True, "works"),
        (ANSWERS, "failed: Broken", False, "only that one, pool dead after it"),
        (ANSWERS, "hung", False, "only that one, pool hangs after it"),
        (["hung", *ANSWERS[1:]], "ok", False, "1 of 7 others lost, hangs (1 unanswered)"),
        ([*ANSWERS[:3], "hung", *ANSWERS[4:]], "ok", False, "only that one, hangs (1 unanswered)"),
    ],
)
def test_a_verdict_says_what_was_lost(answers, after, passed, text):
    verdict = judge_answers(answers, after)
    assert (verdict.passed, verdict.text) == (passed, text)


def test_the_docs_show_a_row_for_each_probe():
    page = (ROOT / "docs" / "probes.md").read_text()
    for what, _ in PROBES.values():
        assert f"\n| {what} | **" in page
