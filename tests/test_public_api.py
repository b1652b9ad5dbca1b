"""What ``knock`` offers, and what importing it costs."""

import pickle
import subprocess
import sys

import pytest

import knock
from knock import errors

HEAVY = ("psutil", "rich", "click", "apsw", "cloudpickle", "knock.run", "knock.queue", "asyncio")


def test_everything_public_is_there_sorted_and_complete():
    assert knock.__all__ == sorted(knock.__all__)
    assert [name for name in knock.__all__ if getattr(knock, name) is None] == []
    assert dir(knock) == knock.__all__


def test_every_error_is_public():
    names = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    ]
    assert [name for name in names if name not in knock.__all__] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = knock.nonsense


def test_importing_knock_loads_nothing_heavy():
    code = f"import sys, knock; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def make(cls: type[BaseException]) -> BaseException:
    for arguments in (("message",), (7,), ()):
        try:
            return cls(*arguments)
        except TypeError:
            continue
    return cls(7, "queued", "claim")


@pytest.mark.parametrize(
    "cls", [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, Exception)]
)
def test_error_survives_pickling_with_all_it_carries(cls):
    error = make(cls)
    error.extra = "kept"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
