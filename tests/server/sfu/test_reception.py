"""What a receiver's reports and requests come to."""

from aiortc.rtp import RtcpReceiverInfo

from server.sfu import rtp
from server.sfu.reception import MAX_REPORTS, Reception

MS = 1_000_000


def report(lost: int = 0, lsr: int = 0, dlsr: int = 0) -> RtcpReceiverInfo:
    return RtcpReceiverInfo(
        ssrc=99,
        fraction_lost=0,
        packets_lost=lost,
        highest_sequence=0,
        jitter=0,
        lsr=lsr,
        dlsr=dlsr,
    )


def sender_report(ntp: int) -> bytes:
    return rtp.sender_report(99, ntp, 0, 1, 1)


def test_lost_is_counted_from_the_first_report_on_and_falls_with_repair() -> None:
    reception = Reception()
    seen = []
    for lost in (40, 45, 43, 50):
        reception.reported(report(lost), 0)
        seen.append(reception.lost)
    assert seen == [0, 5, 3, 10]


def test_round_trip_from_the_time_of_our_own_report() -> None:
    reception = Reception()
    ntp = 0x1111_2222_3333_4444
    reception.sent(sender_report(ntp), 1000 * MS)
    reception.reported(report(lsr=0x2222_3333, dlsr=65536 // 2), 1580 * MS)
    assert reception.round_trip_ms == 80.0


def test_an_answer_to_a_report_that_is_not_ours_says_nothing() -> None:
    reception = Reception()
    reception.sent(sender_report(1 << 32), 0)
    reception.reported(report(lsr=77), 500 * MS)
    reception.reported(report(lsr=1 << 16, dlsr=10 * 65536), 500 * MS)
    reception.reported(report(lsr=0), 500 * MS)
    assert reception.round_trip_ms is None


def test_a_report_that_is_answered_again_tells_nothing_new() -> None:
    reception = Reception()
    reception.sent(sender_report(1 << 32), 0)
    reception.reported(report(lsr=1 << 16, dlsr=65536), 1260 * MS)
    assert (reception.round_trip_ms, reception.round_trip_at_ns) == (260.0, 260 * MS)
    reception.reported(report(lsr=1 << 16, dlsr=4 * 65536), 4180 * MS)
    assert (reception.round_trip_ms, reception.round_trip_at_ns) == (260.0, 260 * MS)


def test_only_the_last_reports_are_remembered() -> None:
    reception = Reception()
    for second in range(MAX_REPORTS + 1):
        reception.sent(sender_report(second + 1 << 32), second * 1000 * MS)
    reception.reported(report(lsr=1 << 16), 20_000 * MS)
    assert reception.round_trip_ms is None
    reception.reported(report(lsr=2 << 16), 1100 * MS)
    assert reception.round_trip_ms == 100.0


def test_a_packet_asked_for_again_and_again_is_missed_once() -> None:
    reception = Reception()
    reception.asked([65534, 65535])
    reception.asked([65534, 65535, 0, 3])
    reception.asked([3])
    assert reception.missed == 4
