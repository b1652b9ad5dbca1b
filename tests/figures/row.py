"""One line of a figure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A measured value beside its bar. ``is_speed``: what else the machine does counts in it."""

    what: str
    value: str
    bar: str
    ok: bool
    is_speed: bool = False

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "MISSED"
        return f"{self.what:<58} {self.value:>22}  {self.bar:<24} {verdict}"


def at_most(what: str, value: float, bar: float, unit: str = "") -> Row:
    return Row(what, f"{value:.4g} {unit}", f"<= {bar:.4g} {unit}", value <= bar)


def at_least(what: str, value: float, bar: float, unit: str = "") -> Row:
    return Row(what, f"{value:.4g} {unit}", f">= {bar:.4g} {unit}", value >= bar)


def equal(what: str, value: object, bar: object) -> Row:
    return Row(what, str(value), f"= {bar}", value == bar)
