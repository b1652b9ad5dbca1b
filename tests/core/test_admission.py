import pytest
from hypothesis import given, strategies as st

from knock.core.admission import Demand, Room, admits

limits = st.none() | st.integers(-3, 1 << 40)


@pytest.mark.parametrize(
    "demand,room,is_admitted",
    [
        (Demand(), Room(), True),
        (Demand(), Room(slots=1, memory_bytes=0, places=1), True),
        (Demand(), Room(slots=0), False),
        (Demand(slots=2), Room(slots=1), False),
        (Demand(memory_bytes=101), Room(memory_bytes=100), False),
        (Demand(memory_bytes=100), Room(memory_bytes=100), True),
        (Demand(), Room(places=0), False),
        (Demand(slots=4), Room(slots=4, places=1), True),
    ],
)
def test_job_is_admitted_only_where_every_resource_suffices(demand, room, is_admitted):
    assert admits(demand, room) is is_admitted


@given(
    demand=st.builds(Demand, st.integers(1, 64), st.integers(0, 1 << 40)),
    room=st.builds(Room, limits, limits, limits),
)
def test_more_room_never_refuses_what_less_room_admits(demand, room):
    if admits(demand, room):
        roomier = [None if limit is None else limit + 1 for limit in room]
        assert admits(demand, Room(*roomier))
        assert admits(demand, Room())
