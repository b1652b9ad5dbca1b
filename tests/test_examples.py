"""The examples run on real input, and say what is true."""

import ast
import email
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
MAX_LINES = 60
# This knock, whether it is installed or not.
ENVIRONMENT = {"PYTHONPATH": str(EXAMPLES.parent), **os.environ}

pytestmark = [pytest.mark.process, pytest.mark.slow]


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run an example as its users do; none leaves a traceback."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    result = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=False
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of a package of the standard library, with a few oddities."""
    copy = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(email.__file__).parent, copy, ignore=ignored)
    shutil.copy(copy / "message.py", copy / "a copy.py")
    (copy / "broken.py").write_text("def f(:\n")
    return copy


def numbers(lines: Sequence[str]) -> list[int]:
    return [int(line.split()[0].replace(",", "")) for line in lines]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_example_is_short_and_is_tested_here(path):
    assert len(path.read_text().splitlines()) < MAX_LINES
    assert f'"{path.name}"' in Path(__file__).read_text()


def test_first_reports_on_all_modules_and_names_the_two_that_died():
    result = run("first.py")
    modules = sorted(path.name for path in Path(os.__file__).parent.glob("*.py"))
    first = result.stdout.splitlines()[0]
    assert first.startswith(f"knock: {len(modules) - 2} of {len(modules)} jobs completed")
    for name, end in (
        ("antigravity.py", r"ran over its time limit and was killed after 1\.\d s"),
        ("this.py", "ended its worker process: killed by SIGABRT"),
    ):
        index = modules.index(name)
        item = rf"item {index} \(job {index + 1}\): .*{name}'\)\n.*"
        assert re.search(item + end, result.stdout)
    assert result.returncode == 0


@pytest.mark.parametrize("options", [["-"], ["-q", "-i"]], ids=["stdin", "prompt"])
def test_first_works_pasted(options):
    command = [sys.executable, *options]
    source = (EXAMPLES / "first.py").read_text() + "\n"
    result = subprocess.run(
        command,
        input=source,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    assert "killed by SIGABRT" in result.stdout
    assert "ran over its time limit" in result.stdout
    assert "Error" not in result.stderr


def test_checksums_are_those_of_sha256sum(tree):
    result = run("checksums.py", tree)
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    assert result.stdout.splitlines() == [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}"
        for path in files
    ]
    assert f"{len(files)} jobs completed" in result.stderr
    assert result.returncode == 0


def test_duplicates_are_found(tree):
    result = run("duplicates.py", tree)
    by_content: dict[str, list[str]] = {}
    for path in tree.rglob("*"):
        if path.is_file() and path.stat().st_size:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            by_content.setdefault(digest, []).append(str(path.relative_to(tree)))
    groups = [" ".join(sorted(group)) for group in by_content.values() if len(group) > 1]
    assert sorted(line[11:] for line in result.stdout.splitlines()) == sorted(groups)
    assert "a copy.py message.py" in groups
    assert result.returncode == 0


def test_sweep_ranks_by_size(tree):
    result = run("sweep.py", tree)
    sizes = numbers(result.stdout.splitlines())
    data = b"".join(path.read_bytes() for path in sorted(tree.rglob("*.py")))
    best = lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 3, "pb": 0}])
    assert len(sizes) == 5
    assert sizes == sorted(sizes)
    assert sizes[0] <= len(best)
    assert "24 jobs completed" in result.stderr
    assert result.returncode == 0


def test_names_are_counted(tree):
    result = run("names.py", tree)
    (tree / "broken.py").unlink()
    names: Counter[str] = Counter()
    for path in tree.glob("*.py"):
        with tokenize.open(path) as file:
            tokens = tokenize.generate_tokens(file.readline)
            names.update(token.string for token in tokens if token.type == tokenize.NAME)
    lines = [line.split() for line in result.stdout.splitlines()]
    found = {name: int(number.replace(",", "")) for number, name in lines}
    assert len(found) == 10
    assert found == {name: names[name] for name in found}
    assert "self" in found
    [letter] = [line for line in result.stderr.splitlines() if "broken.py" in line]
    assert letter.startswith(f"{tree / 'broken.py'}: not_retryable: ")
    assert result.returncode == 1


def test_compile_tree_names_what_cannot_be_compiled(tree):
    result = run("compile_tree.py", tree)
    [failed, total] = result.stdout.splitlines()
    assert failed.startswith(f"{tree / 'broken.py'}: invalid syntax")
    (tree / "broken.py").unlink()
    nodes = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    trees = [ast.parse(path.read_bytes()) for path in tree.rglob("*.py")]
    least = sum(isinstance(node, nodes) for one in trees for node in ast.walk(one))
    assert numbers([total])[0] >= least
    assert result.returncode == 1
