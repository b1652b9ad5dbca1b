"""Storages that make difficulties."""

import threading
from random import Random
from typing import Any

from knock.errors import StorageUnavailableError
from knock.storage.memory import InMemoryStorage


class Unreliable(InMemoryStorage):
    """Cannot be reached now and then, when jobs are claimed or settled."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = Random(seed)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"rng": self._rng}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._rng = state.pop("rng")
        super().__setstate__(state)

    def claim(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_sometimes()
        return super().claim(*args, **kwargs)

    def settle(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_sometimes()
        return super().settle(*args, **kwargs)

    def _refuse_sometimes(self) -> None:
        if self._rng.random() < 0.3:
            raise StorageUnavailableError("not now")


class Unpicklable(InMemoryStorage):
    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"lock": threading.Lock()}


class Buggy(InMemoryStorage):
    """Has a mistake in one of its methods, which shows when it is told something to do."""

    def __init__(self, verb: str) -> None:
        super().__init__()
        self.verb = verb

    def __getattribute__(self, name: str) -> Any:
        held = super().__getattribute__("__dict__")
        if name == held.get("verb") and held["_queued"]:
            return _mistake
        return super().__getattribute__(name)

    def __getstate__(self) -> dict[str, Any]:
        if self.verb == "pickle" and self._completed:
            raise TypeError("a mistake")
        return super().__getstate__() | {"verb": self.verb}

    def __setstate__(self, state: dict[str, Any]) -> None:
        verb = state.pop("verb")
        super().__setstate__(state)
        self.verb = verb


def _mistake(*_: Any, **__: Any) -> None:
    raise RuntimeError("a mistake")
