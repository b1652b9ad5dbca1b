"""The conformance suite of storages, put together."""

from knock.testing.cancelling import CancelContract
from knock.testing.claiming import ClaimContract
from knock.testing.enqueueing import EnqueueContract
from knock.testing.expiring import ExpireContract
from knock.testing.keeping import KeepContract
from knock.testing.keying import KeyContract
from knock.testing.leasing import LeaseContract
from knock.testing.reading import ReadContract
from knock.testing.settling import SettleContract


class StorageContract(
    EnqueueContract,
    KeyContract,
    KeepContract,
    ClaimContract,
    ExpireContract,
    SettleContract,
    CancelContract,
    ReadContract,
    LeaseContract,
):
    """What every storage must do.

    A subclass named ``Test...`` gives a pytest fixture ``storage``: an open, empty storage.
    Parts are classes only because one file would be too long.
    """
