"""Which reports about a sender's clock are believed."""

from __future__ import annotations

from recorder.sender_clock import (
    LASTING_US,
    MAX_RELAPSES,
    SILENT_US,
    SLACK_US,
    ParticipantClock,
    SenderClock,
)

NTP_US = 3_900_000_000_000_000
WAIT_US = 20_000


class Reporting:
    """Reports of one track, once a second, whose run began at session time 0."""

    def __init__(self, clock: ParticipantClock) -> None:
        self.heard = SenderClock(clock)
        self.at_us = 0

    def says(self, reports: int, sender_off_us: int = 0, rtp_off_us: int = 0) -> SenderClock:
        for _ in range(reports):
            self.at_us += 1_000_000
            ntp_us, ticks_us = NTP_US + self.at_us + sender_off_us, self.at_us + rtp_off_us
            self.heard.report(ntp_us, ticks_us, self.at_us + WAIT_US, 0)
        return self.heard


def test_what_changes_little_is_believed_at_once() -> None:
    heard = Reporting(ParticipantClock()).says(1)
    assert heard.started_us == WAIT_US
    assert heard.sender_us == NTP_US
    assert heard.doubted == 0


def test_a_large_correction_is_believed_when_it_lasts() -> None:
    """The media is 3 s older than when it arrived; one report alone could be a mistake."""
    late = Reporting(ParticipantClock())
    assert late.says(LASTING_US // 1_000_000, rtp_off_us=3_000_000).started_us is None
    assert late.says(1, rtp_off_us=3_000_000).started_us == -3_000_000 + WAIT_US
    assert not late.heard.contradicting


def test_times_that_run_apart_are_given_up() -> None:
    """RTP time at twice the speed of the media, as GStreamer 1.22 says."""
    heard = SenderClock(ParticipantClock())
    for at_us in range(1_000_000, 10_000_000, 1_000_000):
        heard.report(NTP_US + at_us, 2 * at_us, at_us + WAIT_US, 0)
        assert heard.started_us is None
    assert heard.contradicting
    assert heard.doubted == 9


def test_a_drift_of_300_ppm_is_none_of_it() -> None:
    heard = SenderClock(ParticipantClock())
    for at_us in range(0, 3_600_000_000, 1_000_000):
        heard.report(NTP_US + at_us + at_us * 3 // 10_000, at_us, at_us + WAIT_US, 0)
    assert heard.doubted == 0


def test_one_wrong_report_changes_nothing() -> None:
    sender = Reporting(ParticipantClock())
    sender.says(3)
    for off_us in (-8_000_000, 2 * SLACK_US, 500_000_000):
        sender.says(1, off_us)
        assert sender.says(1).started_us == WAIT_US
    assert sender.heard.doubted == 3
    assert not sender.heard.contradicting


def test_a_step_of_the_senders_clock_moves_no_media() -> None:
    """Its host's clock is set: all its tracks report it, and all stay where they are."""
    for step_us in (-7_000_000, 300_000, 400_000_000, -400_000_000):
        clock = ParticipantClock()
        picture, sound = Reporting(clock), Reporting(clock)
        for second in range(40):
            off_us = step_us if second >= 10 else 0
            for track in (picture, sound):
                track.says(1, off_us)
                assert track.heard.started_us is not None
                assert abs(track.heard.started_us - WAIT_US) <= SLACK_US
        for track in (picture, sound):
            assert track.heard.sender_us == NTP_US + step_us
            assert not track.heard.contradicting


def test_two_clocks_of_one_participant() -> None:
    """A track whose clock is another than that of the first goes by arrival."""
    clock = ParticipantClock()
    picture, sound = Reporting(clock), Reporting(clock)
    for _ in range(20):
        picture.says(1)
        sound.says(1, 900_000_000)
    assert picture.heard.started_us == WAIT_US
    assert picture.heard.doubted == 0
    assert sound.heard.contradicting
    assert sound.heard.started_us is None


def test_a_clock_that_nobody_goes_by_any_more_is_replaced() -> None:
    clock = ParticipantClock()
    Reporting(clock).says(1)
    other = Reporting(clock)
    seconds = SILENT_US // 1_000_000
    assert other.says(seconds, 900_000_000).started_us is None
    assert other.says(2, 900_000_000).started_us == WAIT_US


def test_who_agrees_again_is_believed_again_but_not_for_ever() -> None:
    sender = Reporting(ParticipantClock())
    for _ in range(MAX_RELAPSES):
        assert not sender.says(5).contradicting
        for number in range(1, 4):
            sender.says(1, number * 1_000_000)
        assert sender.heard.contradicting
        assert sender.heard.started_us is None
    assert sender.says(20).contradicting


def test_a_new_run_is_judged_by_itself() -> None:
    sender = Reporting(ParticipantClock())
    sender.says(2)
    sender.heard.new_run()
    assert sender.heard.started_us is None
    assert sender.says(1, rtp_off_us=-100_000).started_us == 100_000 + WAIT_US
