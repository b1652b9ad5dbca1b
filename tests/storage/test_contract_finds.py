"""The contract finds the mistakes that a storage is likely to make."""

import pytest

from knock.storage.memory import InMemoryStorage
from knock.testing import StorageContract
from tests.storage.mistakes import claiming, keeping, keying, moving

MISTAKES = keeping.MISTAKES | keying.MISTAKES | claiming.MISTAKES | moving.MISTAKES
TESTS = sorted(name for name in dir(StorageContract) if name.startswith("test_"))


def failing_tests(storage_class):
    """Run the contract against new storages of the class; return the names of what fails."""
    return [name for name in TESTS if not passes(name, storage_class())]


def passes(name, storage):
    try:
        getattr(StorageContract(), name)(storage)
    except Exception:
        return False
    return True


def test_the_storage_without_a_mistake_passes():
    assert failing_tests(InMemoryStorage) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_contract_finds_the_mistake(mistake):
    failing = failing_tests(MISTAKES[mistake])
    assert failing, "no test fails"
    # A storage that does nothing right would say nothing about this mistake.
    assert len(failing) < len(TESTS) / 8, failing
