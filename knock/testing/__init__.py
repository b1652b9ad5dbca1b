"""Tests that ship with knock: what a storage must do, for whoever writes one.

    from collections.abc import Iterator

    import pytest
    from knock.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self) -> Iterator[MyStorage]:
            storage = MyStorage(...)  # empty, and open
            yield storage
            storage.close()

Each test gets a storage of its own. For readable failures call
``pytest.register_assert_rewrite("knock.testing")`` in ``conftest.py`` before the import.
"""

from knock.testing.build import NOW, a_job, a_run, settlement
from knock.testing.contract import StorageContract

__all__ = ["NOW", "StorageContract", "a_job", "a_run", "settlement"]
