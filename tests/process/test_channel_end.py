"""A peer that died may have said something before: it is read, whatever sending says."""

from knock.pool.channel import Channel, channel_pair
from knock.protocol.frame import encode_frame

KIND = 7


def test_what_a_dead_peer_had_sent_is_read_though_sending_to_it_failed():
    mine, theirs = channel_pair()
    channel = Channel(mine, (KIND,))
    channel.send([b"never read"])
    theirs.sendall(encode_frame(KIND, b"last words"))
    theirs.close()
    channel.send([b"too late"])
    assert not channel.wants_write
    assert channel.drain() == [(KIND, b"last words")]
    assert channel.is_ended
    channel.close()


def test_half_a_frame_of_a_dead_peer_is_nothing():
    mine, theirs = channel_pair()
    channel = Channel(mine, (KIND,))
    theirs.sendall(encode_frame(KIND, b"cut short")[:-1])
    theirs.close()
    assert channel.drain() == []
    assert channel.is_ended
    channel.close()
