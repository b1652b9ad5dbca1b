"""The last lines of a job, kept in bounded memory."""

from hypothesis import given, strategies as st

from knock.pool.logtail import MAX_CHARACTERS, MAX_LINES, LogTail
from knock.protocol.logline import LogLine, Origin


def a_line(text, level=30):
    return LogLine(1, 0.0, level, text, Origin("shop"))


def test_the_last_lines_are_kept_in_order():
    tail = LogTail()
    for number in range(MAX_LINES + 5):
        tail.add(a_line(str(number)))
    assert tail.lines() == tuple(f"WARNING shop: {n}" for n in range(5, MAX_LINES + 5))
    tail.clear()
    assert (tail.lines(), len(tail)) == ((), 0)


def test_each_line_of_a_text_counts():
    tail = LogTail()
    tail.add(a_line("\n".join(map(str, range(200))), 25))
    assert tail.lines() == tuple(map(str, range(150, 200)))
    tail.add(a_line("a\nb", 25))
    assert tail.lines()[-2:] == ("Level 25 shop: a", "b")


def test_of_a_line_that_is_too_long_its_end_is_kept():
    tail = LogTail()
    tail.add(a_line("a" * 50_000 + "z"))
    [line] = tail.lines()
    assert len(line) == MAX_CHARACTERS
    assert line.endswith("az")


@given(st.lists(st.text(st.characters(), max_size=200) | st.integers(0, 40_000).map("x\n".__mul__)))
def test_no_log_breaks_the_bounds(texts):
    tail = LogTail()
    for text in texts:
        tail.add(a_line(text))
    lines = tail.lines()
    assert len(lines) <= MAX_LINES
    assert sum(map(len, lines)) <= MAX_CHARACTERS
    assert all(len(line.splitlines()) <= 1 for line in lines)
