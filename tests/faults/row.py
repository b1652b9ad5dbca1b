"""One fault."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """``what`` goes wrong and what is ``done``, in a few words each.

    ``tests`` are pytest's names of those that hold it, files from ``tests/`` on. A fault without
    any says in ``why`` what is missing; one may have both, where part of it is.
    """

    key: str
    what: str
    done: str
    tests: tuple[str, ...] = ()
    why: str = ""


def held(key: str, what: str, done: str, *tests: str, but: str = "") -> Fault:
    """A fault that tests hold; ``but`` is what they do not."""
    return Fault(key, what, done, tests, but)


def open_still(key: str, what: str, why: str) -> Fault:
    """A fault that nothing holds yet, or that cannot come up."""
    return Fault(key, what, "", (), why)
