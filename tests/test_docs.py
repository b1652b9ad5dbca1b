"""README and docs are true: programs run and print what they say, the chart is the table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import knock
from knock.core.job import FINAL_STATES, TRANSITIONS, JobState
from knock.supervisor.messages import EVENT_NAMES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXPECTED = "#> "


def programs():
    for page in PAGES:
        for number, match in enumerate(
            re.finditer(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        ):
            yield pytest.param(match[1], id=f"{page.stem}-{number}")


@pytest.mark.process
@pytest.mark.parametrize("source", list(programs()))
def test_program_of_the_docs_runs_and_prints_what_it_says(source, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(source)
    run = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    expected = [
        line.removeprefix(EXPECTED) for line in source.splitlines() if line.startswith(EXPECTED)
    ]
    if expected:
        assert run.stdout.splitlines() == expected, run.stderr


def state_diagram() -> str:
    """Return the chart of all transitions, as Mermaid."""
    lines = ["stateDiagram-v2", f"    [*] --> {JobState.QUEUED}"]
    lines += [f"    {old} --> {new}: {trigger}" for (old, trigger), new in TRANSITIONS.items()]
    return "\n".join(lines)


def test_chart_of_the_states_is_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text()
    [chart] = re.findall(r"^```mermaid\n(.*?)\n^```$", text, re.MULTILINE | re.DOTALL)
    assert chart == state_diagram()


def test_only_people_move_a_job_on_from_a_final_state():
    moves = {trigger for (old, trigger) in TRANSITIONS if old in FINAL_STATES}
    assert {str(move) for move in moves} == {"requeue"}


def test_readme_shows_the_first_example():
    source = (ROOT / "examples" / "first.py").read_text()
    assert f"```python\n{source}```" in (ROOT / "README.md").read_text()


@pytest.mark.process
def test_readme_shows_what_the_first_example_prints():
    [shown] = re.findall(r"^```text\n(.*?)^```$", PAGES[0].read_text(), re.MULTILINE | re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-u", str(ROOT / "examples" / "first.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    )
    assert without_numbers(run.stdout) == without_numbers(shown)


def without_numbers(text: str) -> list[str]:
    """Leave out what another machine or another Python says differently."""
    text = re.sub(r"(?<=PosixPath\(')[^']*/", "", text.partition("\nhost: ")[0])
    text = re.sub(r"[~\d][\d,.]*( us| ms| s| min)?\b", "N", text)
    text = text.replace("N worker ", "N workers ")
    # The columns are as wide as their numbers.
    return [" ".join(line.split()) for line in text.splitlines()]


def test_readme_begins_with_a_script_of_ten_lines():
    [shown] = re.findall(r"^```python\n(.*?)^```$", PAGES[0].read_text(), re.MULTILINE | re.DOTALL)[
        :1
    ]
    assert len([line for line in shown.splitlines() if line.strip()]) <= 10


def test_readme_has_both_commands():
    text = (ROOT / "README.md").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/knock demo" in text
    assert ".venv/bin/pip install tox && .venv/bin/tox" in text


def test_links_of_the_docs_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_method_of_a_queue_is_in_the_docs():
    text = "\n".join(page.read_text() for page in PAGES)
    methods = [name for name in dir(knock.QueueInstance) if not name.startswith("_")]
    assert [name for name in methods if name not in text] == []


# What the README and the interfaces of knock-mq name.
ORIGINAL = """
    QueueInstance Queue InMemoryStorage QueueStorage add process start stop pause resume getStats
    concurrency retryAttempts retryDelay circuitBreakerThreshold priority high normal low
    getDeadLetterItems queued processing completed failed useProcessor enqueue enqueueOnce
    getDeadLetters isPaused getStatus maxRetries maxConcurrent backoffBaseMs timeoutMs
    priorityConfig logger monitoring expiresAt delivered undeliverable cancelled
"""


def test_every_name_of_the_original_has_its_counterpart():
    text = (ROOT / "docs" / "migration.md").read_text()
    assert [name for name in ORIGINAL.split() if not re.search(rf"\b{name}\b", text)] == []


def test_every_event_that_the_docs_name_exists():
    text = (ROOT / "docs" / "quickstart.md").read_text()
    [named] = re.findall(r"`on\((.*?)\.\.\.", text)
    names = set(re.findall(r'"(\w+)"', named))
    assert names
    assert names <= EVENT_NAMES
