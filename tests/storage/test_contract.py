"""Every storage keeps the contract; the naive model too, or the contract would be in doubt."""

import pytest

from knock.storage.memory import InMemoryStorage
from knock.testing import StorageContract
from tests.storage.model import ListStorage


class TestStorages(StorageContract):
    @pytest.fixture(params=[InMemoryStorage, ListStorage], ids=["memory", "model"])
    def storage(self, request):
        return request.param()
