"""Where jobs are kept."""

import os

from knock.errors import ConfigError
from knock.storage.base import Storage
from knock.storage.memory import InMemoryStorage

__all__ = ["InMemoryStorage", "Storage", "choose_storage", "open_storage"]

SCHEMES = ("memory",)


def open_storage(url: str) -> Storage:
    """Return the storage that a URL names; ``memory://`` is a new one in this process.

    Raises:
        ConfigError: No storage has that scheme, or the rest of the URL makes no sense to it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(f"unknown storage {_without_secret(url)!r}: known are {known}")
    if rest:
        raise ConfigError(f"memory:// takes nothing after it, not {_without_secret(rest)!r}")
    return InMemoryStorage()


def choose_storage(storage: object) -> Storage | None:
    """Return the storage that was given, as itself or as a URL, or that the environment names.

    None is ``$KNOCK_STORAGE``, and where that is not set no storage: one in memory will do.

    Raises:
        ConfigError: It is neither, or no storage has that URL.
    """
    if storage is None:
        storage = os.environ.get("KNOCK_STORAGE") or None
    if isinstance(storage, str):
        return open_storage(storage)
    if storage is None or isinstance(storage, Storage):
        return storage
    raise ConfigError(f"storage must be a storage or the URL of one, not {storage!r}")


def _without_secret(url: str) -> str:
    # A URL may carry a password; an error message goes to logs.
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://...@{tail}" if at else url
