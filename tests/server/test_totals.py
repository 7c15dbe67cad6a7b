"""Totals from the counters of real tracks: what they say is what went out, byte for byte."""

from __future__ import annotations

import pytest
from far_end import Wire, down, packet, track

from server.sfu.resend import PADDING
from server.totals import Totals

NUMBER_BYTES = 2
"""The number that a packet in a retransmission stream has before its payload (RFC 4588, 4)."""


@pytest.mark.parametrize("sound", [False, True])
def test_what_is_sent_again_counts_with_all_of_its_bytes(sound: bool) -> None:
    out, totals = Wire(), Totals()
    up = track(Wire(), sound=sound)
    receiver = down(out, up)
    up.attach(receiver)
    parts = {receiver: "kind"}

    def counted(name: str) -> int:
        totals.look(parts)
        return totals.counts[name, "kind"]

    def sent() -> tuple[int, int]:
        return len(out.rtp), sum(len(packet) for packet in out.rtp)

    for i in range(6):
        up.layers[0].receive(packet(10 + i, 3000 * i, bytes(100 + i)), 1)
    assert (counted("packets_out"), counted("bytes_out")) == sent()
    fresh = len(out.rtp)
    receiver.retransmit([11, 13], 1)
    again = len(out.rtp) - fresh
    assert counted("retransmitted") == again == (4 if sound else 2)
    assert (counted("packets_out"), counted("bytes_out")) == sent()


def test_what_tries_the_line_counts_with_all_of_its_bytes() -> None:
    out, totals = Wire(), Totals()
    up = track(Wire())
    receiver = down(out, up)
    receiver.again.use_stream(97, 98)
    up.attach(receiver)
    for i in range(3):
        up.layers[0].receive(packet(10 + i, 3000 * i, bytes(100)), 1)
    plain = sum(len(packet) for packet in out.rtp)
    out.rtp.clear()
    receiver.again.probe(12, 250)
    totals.look({receiver: ""})
    tried = sum(len(packet) - NUMBER_BYTES for packet in out.rtp)
    assert len(out.rtp) == totals.counts["probed", ""] == 2
    assert totals.counts["bytes_out", ""] == plain + tried

    receiver.again.forget()
    out.rtp.clear()
    receiver.again.probe(12, 2 * len(PADDING))
    assert len(out.rtp) == 2
    totals.look({receiver: ""})
    padded = sum(len(packet) for packet in out.rtp)
    assert totals.counts["bytes_out", ""] == plain + tried + padded
