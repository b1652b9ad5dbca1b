"""Progress without a terminal, by a clock of our own."""

import errno
import io
import sys

import pytest

from knock.run import run_pool
from knock.run.progress import LINE_SECONDS, Lines, Silence, choose_display, progress_line
from tests.run import jobs


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_line_is_written_now_and_then_only(clock):
    written = []
    lines = Lines(written.append, clock)
    for second in range(35):
        clock.now = 100.0 + second
        lines.update(second, 0, 0, 100)
    assert written == [
        "knock: 10 of 100 jobs done, 1.0/s, 1 min 30 s left\n",
        "knock: 20 of 100 jobs done, 1.0/s, 1 min 20 s left\n",
        "knock: 30 of 100 jobs done, 1.0/s, 1 min 10 s left\n",
    ]


def test_a_short_batch_is_silent(clock):
    written = []
    lines = Lines(written.append, clock)
    clock.now += LINE_SECONDS - 0.01
    lines.update(100, 0, 0, 100)
    lines.close()
    assert written == []


def test_it_says_when_the_next_line_is_due(clock):
    lines = Lines(lambda _: None, clock)
    assert lines.next_update() == LINE_SECONDS
    clock.now += 4
    assert lines.next_update() == LINE_SECONDS - 4
    clock.now += 60
    assert lines.next_update() == 0
    lines.update(1, 0, 0, None)
    assert lines.next_update() == LINE_SECONDS


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_a_batch_outlives_its_reader(clock, error):
    calls = []

    def write(text):
        calls.append(text)
        raise error

    lines = Lines(write, clock)
    for _ in range(5):
        clock.now += LINE_SECONDS
        lines.update(1, 0, 0, None)
    assert len(calls) == 1
    assert lines.next_update() == LINE_SECONDS


@pytest.mark.parametrize(
    "numbers,line",
    [
        ((5, 0, 0, None, 10.0), "knock: 5 jobs done, 0.5/s"),
        ((12345, 2, 3, None, 1.0), "knock: 12,345 jobs done, 12,345.0/s, 2 failed, 3 retried"),
        ((0, 0, 0, 10, 10.0), "knock: 0 of 10 jobs done, 0.0/s"),
        ((1, 0, 0, None, 1.0), "knock: 1 job done, 1.0/s"),
        ((0, 0, 0, 1, 0.0), "knock: 0 of 1 job done, 0.0/s"),
        ((0, 0, 0, 10, 0.0), "knock: 0 of 10 jobs done, 0.0/s"),
    ],
)
def test_the_line_says_what_is_known(numbers, line):
    assert progress_line(*numbers) == line


def test_the_display_is_chosen_by_what_standard_error_is(monkeypatch):
    assert isinstance(choose_display(False), Silence)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(choose_display(None), Lines)
    assert isinstance(choose_display(True), Lines)
    monkeypatch.setattr(sys, "stderr", None)
    assert isinstance(choose_display(True), Silence)
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert isinstance(choose_display(True), Silence)


class Terminal(io.StringIO):
    error = None

    def isatty(self):
        return True

    def write(self, text):
        if self.error is not None:
            raise self.error
        return super().write(text)


def test_a_bar_on_a_terminal_shows_failures_and_goes_away(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bar = choose_display(None)
    bar.update(50, 2, 1, 100)
    bar.update(100, 2, 1, 100)
    shown = terminal.getvalue()
    bar.close()
    assert "100/100" in shown
    assert "2 failed, 1 retried" in shown
    assert bar.next_update() <= 0.1


@pytest.mark.parametrize("error", [OSError(errno.EIO, "gone"), ValueError("closed")])
@pytest.mark.parametrize("until", ["made", "updated", "closed"])
def test_a_bar_whose_terminal_goes_away_falls_silent(monkeypatch, error, until):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    stdout = sys.stdout
    if until == "made":
        terminal.error = error
    bar = choose_display(None)
    if until == "updated":
        terminal.error = error
    bar.update(100, 2, 1, 100)
    terminal.error = error
    bar.close()
    bar.update(100, 2, 1, 100)
    assert bar.next_update() is None
    assert (sys.stdout, sys.stderr) == (stdout, terminal)


@pytest.mark.process
def test_a_batch_outlives_its_terminal(monkeypatch):
    terminal = Terminal()

    def items():
        yield 1
        terminal.error = OSError(errno.EIO, "gone")
        yield 2

    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    report = run_pool(jobs.square, items(), workers=1)
    monkeypatch.undo()
    assert report.results == [1, 4]
