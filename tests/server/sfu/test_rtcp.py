"""What of a peer's RTCP is read."""

from __future__ import annotations

from aiortc.rtp import RtcpPsfbPacket, RtcpRrPacket

from server.sfu import rtp
from server.sfu.rtcp import BYTES_PER_S, PACKET_BYTES, RtcpIntake

SECOND_NS = 1_000_000_000
REPORT = rtp.receiver_report(1, []) + rtp.picture_loss_indication(1, 2)


def test_a_compound_packet_is_taken_apart() -> None:
    parts = RtcpIntake().parts(REPORT, SECOND_NS)
    assert parts is not None
    assert [type(part) for part in parts] == [RtcpRrPacket, RtcpPsfbPacket]


def test_what_makes_no_sense_is_counted() -> None:
    intake = RtcpIntake()
    for packet in (b"\x80", REPORT[:-1], bytes(len(REPORT))):
        assert intake.parts(packet, SECOND_NS) is None
    assert (intake.malformed, intake.refused) == (3, 0)


def test_more_than_a_second_s_worth_at_once_is_left_unread() -> None:
    intake = RtcpIntake()
    most = BYTES_PER_S // (len(REPORT) + PACKET_BYTES)
    read = [intake.parts(REPORT, SECOND_NS) is not None for _ in range(most + 5)]
    assert read == [True] * most + [False] * 5
    assert (intake.malformed, intake.refused) == (0, 5)
    # Half a second later half of it may come again.
    again = [intake.parts(REPORT, SECOND_NS * 3 // 2) is not None for _ in range(most)]
    assert abs(sum(again) - most // 2) <= 1
    assert intake.malformed == 0
