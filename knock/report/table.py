"""Plain text tables of a bounded width."""

from collections.abc import Sequence

from knock.text import display_width, fit, pad

MAX_COLUMNS = 100
_GAP = "  "


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column left, the others right aligned.

    The first column gives way if the table would be wider than ``MAX_COLUMNS``.
    """
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(display_width, column)) for column in columns]
    rest = sum(widths[1:]) + len(_GAP) * (len(widths) - 1)
    widths[0] = min(widths[0], max(8, MAX_COLUMNS - rest))
    return [_line(row, widths) for row in (head, *rows)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [pad(fit(row[0], widths[0]), widths[0])]
    cells += [pad(text, width, right=True) for text, width in zip(row[1:], widths[1:], strict=True)]
    return fit(_GAP.join(cells).rstrip(), MAX_COLUMNS)


def more(shown: int, total: int, what: str) -> list[str]:
    """Return a line that says how many are left out, if any."""
    return [f"... and {total - shown:,} more {what}"] if total > shown else []
