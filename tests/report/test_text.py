import pytest
from hypothesis import given, strategies as st

from knock.text import display_width, escape_line, fit, pad, seconds_text, size_text

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=80)


@given(ANY_TEXT)
def test_escaped_text_is_one_printable_line_that_can_be_encoded(text):
    escaped = escape_line(text)
    assert escaped.isprintable()
    assert len(escaped.splitlines()) <= 1
    escaped.encode()


@given(ANY_TEXT, st.integers(3, 60))
def test_text_fits(text, columns):
    fitted = fit(text, columns)
    assert display_width(fitted) <= columns
    assert display_width(pad(fitted, columns)) == columns


def test_only_what_does_not_print_is_escaped():
    assert escape_line("größe 漢字 a\\b") == "größe 漢字 a\\b"
    assert escape_line("a\tb\x1b[0m\n\u202e\ud800\x7f") == r"a\tb\x1b[0m\n\u202e\ud800\x7f"


def test_wide_and_combining_characters_are_measured():
    assert display_width("漢字") == 4
    assert display_width("e\u0301") == 1
    assert fit("漢" * 10, 10) == "漢漢漢..."
    assert pad("漢", 4, right=True) == "  漢"


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.0, "0 us"),
        (812e-6, "812 us"),
        (0.0034, "3.4 ms"),
        (12.34, "12.3 s"),
        (59.97, "1 min 00 s"),
        (72.3, "1 min 12 s"),
        (3599.6, "1 h 00 min"),
        (7500.0, "2 h 05 min"),
        (3.6e6, "1,000 h 00 min"),
    ],
)
def test_durations_for_people(seconds, text):
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (512 << 20, "512.0 MiB"),
        (3 << 41, "6.0 TiB"),
    ],
)
def test_sizes_for_people(size, text):
    assert size_text(size) == text
