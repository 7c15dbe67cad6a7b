"""What a track stores and what it declares missing, in the situations that a session can bring."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from recorded import account, feed, lines, make_job, record
from rtp_streams import (
    Packet,
    Stream,
    binding,
    event,
    numbered,
    packets_of,
    picture_stream,
    pictures,
    rtp,
    sound_stream,
    sounds,
    ticks,
)
from scribe import Keys

from recorder import wire
from recorder.archive import Layout
from recorder.verify import verify
from recorder.worker import begin

LIVE_US = 300_000
END_US = 4_000_000

Make = Callable[..., Layout]


@pytest.fixture
def make(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Records inputs and checks what must hold for every archive."""
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)

    def run(*inputs: Any, end_us: int = END_US, **changes: Any) -> Layout:
        every = numbered(
            *inputs,
            event("session_opening", 0),
            event("session_live", LIVE_US),
            event("session_closing", end_us),
            ticks(end_us + 300_000),
            wire.CloseInput(0, end_us + 300_000, {"closed_us": end_us}),
        )
        layout = record(make_job(tmp_path, keys.job, **changes), every)
        report = verify(layout.root, keys.trust)
        assert report.sealed, report.to_json()
        for entry in lines(layout, "close")[0]["tracks"]:
            missing = entry["expected_us"] - entry["captured_us"] - entry["gap_us"]
            assert abs(missing) <= 60_000, entry
        return layout

    return run


def camera(frames: int = 120, **options: Any) -> Stream:
    return picture_stream("H264", pictures("H264", 120, 30, 160, 96)[:frames], **options)


def microphone(packets: int = 195, **options: Any) -> Stream:
    return sound_stream(sounds(200)[:packets], **options)


def cam(stream: Stream, at_us: int = 0) -> list[Any]:
    return [binding(0, "cam-1", "H264", stream.ssrc, at_us), packets_of(stream, 0)]


def mic(stream: Stream, at_us: int = 0) -> list[Any]:
    return [binding(1, "mic-1", "opus", stream.ssrc, at_us), packets_of(stream, 1)]


def gaps(layout: Layout, track: str) -> list[tuple[str, float, float]]:
    """Cause, beginning and end in seconds."""
    return [
        (one["cause"], round(one["from_us"] / 1e6, 2), round(one["to_us"] / 1e6, 2))
        for one in lines(layout, "gap", track)
    ]


def decoded(layout: Layout, track: str) -> int:
    """How many frames FFmpeg decodes of ``cat init segments``, without a complaint."""
    files = sorted(layout.track_dir(track).glob("[0-9]*"))
    whole = b"".join(p.read_bytes() for p in [*layout.track_dir(track).glob("init.*"), *files])
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries"]
    command += ["stream=nb_read_frames", "-of", "csv=p=0", "-i", "-"]
    done = subprocess.run(command, input=whole, capture_output=True, timeout=30, check=True)
    assert done.stderr == b""
    return int(done.stdout)


def without(stream: Stream, *indexes: int) -> Stream:
    kept = [packet for index, packet in enumerate(stream.packets) if index not in indexes]
    return Stream(stream.ssrc, stream.hz, stream.first_timestamp, kept)


def first_of_frame(stream: Stream, frame: int) -> int:
    """Index of the first packet of a picture."""
    ends = [index for index, packet in enumerate(stream.packets) if packet.data[1] & 0x80]
    return ends[frame - 1] + 1


def test_nothing_is_missing(make: Make) -> None:
    layout = make(*cam(camera()), *mic(microphone()))
    for track, frames in (("cam-1", 120), ("mic-1", 195)):
        entry = account(layout, track)
        assert entry["expected_us"] == END_US - LIVE_US
        assert entry["captured_us"] == END_US - LIVE_US
        assert entry["gaps"] == 0
        assert entry["samples"] == decoded(layout, track) == frames
    segments = lines(layout, "seg", "cam-1")
    assert [one["key"] for one in segments] == [True] * 4
    assert [one["number"] for one in segments] == [1, 2, 3, 4]
    # What came before the session was live is kept, and not counted.
    assert segments[0]["t0_us"] == 120_000
    assert segments[0]["wall"] == "2026-11-23T14:05:07.243Z"
    assert all(a["media_end"] == b["media_t0"] for a, b in pairwise(segments))
    assert segments[0]["rtp"] == {
        "ssrc": 0x1111, "first_seq": 65500, "last_seq": segments[1]["rtp"]["first_seq"] - 1,
        "first_ts": 0xFFFF0000 + 9000, "ntp_us": None,
    }  # fmt: skip


def test_a_lost_sound_packet_is_a_gap_of_its_length(make: Make) -> None:
    layout = make(*mic(without(microphone(), 100)))
    assert gaps(layout, "mic-1") == [("loss", 2.14, 2.16)]
    assert account(layout, "mic-1")["gap_us"] == 20_000
    assert sum(one["lost"] for one in lines(layout, "seg", "mic-1")) == 1


def test_a_repaired_packet_is_no_loss(make: Make) -> None:
    stream = microphone()
    late = stream.packets[100]
    stream.packets[100] = Packet(late.arrival_us + 290_000, late.data)
    layout = make(*mic(stream))
    assert gaps(layout, "mic-1") == []
    assert decoded(layout, "mic-1") == 195


def test_pictures_after_a_loss_are_kept_and_count_from_the_next_key_frame(make: Make) -> None:
    whole = camera()
    layout = make(*cam(without(whole, first_of_frame(whole, 40))))
    # Picture 40 is missing from 1.43 s on; the next key frame is picture 60.
    assert gaps(layout, "cam-1") == [("loss", 1.45, 2.12)]
    assert sum(one["samples"] for one in lines(layout, "seg", "cam-1")) == 119


def test_a_cut_of_the_line_is_one_gap_and_no_loss_by_chance(make: Make) -> None:
    """The sender goes on under the same numbers, and for 1.2 s nothing comes."""

    def cut(stream: Stream) -> Stream:
        stream.packets = [
            one for one in stream.packets if not 1_200_000 <= one.arrival_us < 2_400_000
        ]
        return stream

    layout = make(*cam(cut(camera())), *mic(cut(microphone())))
    ((cause, from_s, to_s),) = gaps(layout, "mic-1")
    assert cause == "network" and abs(to_s - from_s - 1.2) < 0.05
    # Pictures count again from the next key frame.
    ((cause, from_s, to_s),) = gaps(layout, "cam-1")
    assert cause == "network" and abs(from_s - 1.2) < 0.1 and 2.4 <= to_s < 3.2


def test_a_key_frame_is_asked_for_where_one_is_needed(tmp_path: Path, keys: Keys) -> None:
    whole = camera()
    job = make_job(tmp_path, keys.job, segment_target_us=600_000)
    stream = without(whole, first_of_frame(whole, 31))
    intake = begin(job)
    every = numbered(*cam(stream), event("session_live", LIVE_US))
    asked = [
        one.arrival_us
        for one in every
        if any(isinstance(said, wire.KeyFrameWanted) for said in feed(intake, [one]))
    ]
    intake.stop()
    assert all(later - earlier >= 500_000 for earlier, later in pairwise(asked))
    # A segment is due 600 ms after it began at 0.12 s, and again at 1.72 s, 2.72 s and so on; the
    # loss at 1.15 s is known 300 ms later and lasts until the key frame at 2.12 s.
    assert 720_000 <= asked[0] < 1_120_000
    assert len([at_us for at_us in asked if 1_400_000 < at_us < 2_120_000]) in (1, 2)


def test_a_still_screen_is_recorded_whole(make: Make) -> None:
    """One picture a second, and every one lasts until the next."""
    encoded = pictures("VP8", 4, 4, 160, 96, 1)
    stream = picture_stream("VP8", encoded, step_us=1_000_000, ssrc=9)
    layout = make(binding(2, "evidence-1", "VP8", 9), packets_of(stream, 2))
    assert gaps(layout, "evidence-1") == []
    entry = account(layout, "evidence-1")
    assert entry["captured_us"] == entry["expected_us"] == END_US - LIVE_US
    assert decoded(layout, "evidence-1") == 4


def test_a_camera_that_stops_is_missing_two_seconds_later(make: Make) -> None:
    layout = make(*cam(camera(30)))
    assert gaps(layout, "cam-1") == [("network", 3.09, 4.0)]


def test_time_that_the_device_left_out(make: Make) -> None:
    """Sound goes on 300 ms later in RTP time, and no packet is missing."""
    stream = microphone(100)
    more = microphone(80, start_us=2_400_000, first_seq=65100)
    stream.packets += more.packets
    layout = make(*mic(stream))
    assert gaps(layout, "mic-1") == [("device", 2.14, 2.44)]
    assert account(layout, "mic-1")["gap_us"] == pytest.approx(300_000, abs=1000)


def test_silence_that_the_encoder_does_not_send_is_no_gap(make: Make) -> None:
    stream = microphone(100)
    head = stream.packets[-1].data[:12]
    stream.packets[-1] = Packet(stream.packets[-1].arrival_us, head + b"\xf8\xff")
    stream.packets += microphone(80, start_us=2_400_000, first_seq=65100).packets
    layout = make(*mic(stream))
    assert gaps(layout, "mic-1") == []


def test_a_track_that_never_arrived(make: Make) -> None:
    layout = make(*mic(microphone()), binding(0, "cam-1", "H264", 1), end_us=7_000_000)
    assert gaps(layout, "cam-1") == [("never_arrived", 0.3, 7.0)]
    entry = account(layout, "cam-1")
    assert (entry["expected_us"], entry["captured_us"], entry["segments"]) == (6_700_000, 0, 0)


def test_a_track_that_arrived_late(make: Make) -> None:
    stream = camera(60, start_us=6_000_000)
    layout = make(*cam(stream), end_us=8_000_000)
    assert gaps(layout, "cam-1") == [("never_arrived", 0.3, 6.02)]


def test_a_track_that_came_soon_is_expected_from_its_first_packet(make: Make) -> None:
    layout = make(*cam(camera(90, start_us=1_000_000)))
    assert gaps(layout, "cam-1") == []
    assert account(layout, "cam-1")["expected_us"] == pytest.approx(END_US - 1_020_000, abs=2)


def test_nothing_can_be_shown_before_a_key_frame(make: Make) -> None:
    whole = camera()
    stream = Stream(whole.ssrc, whole.hz, 0, whole.packets[first_of_frame(whole, 20) :])
    layout = make(*cam(stream))
    assert gaps(layout, "cam-1") == [("no_key_frame", 0.79, 1.12)]
    assert lines(layout, "seg", "cam-1")[0]["key"]
    assert decoded(layout, "cam-1") == 90


def test_a_pause(make: Make) -> None:
    def paused(packets: Iterator[wire.RtpInput]) -> Iterator[wire.RtpInput]:
        return (one for one in packets if not 1_500_000 <= one.arrival_us < 2_000_000)

    layout = make(
        binding(0, "cam-1", "H264", camera().ssrc),
        binding(1, "mic-1", "opus", microphone().ssrc),
        paused(packets_of(camera(), 0)),
        paused(packets_of(microphone(), 1)),
        event("session_paused", 1_500_000, reason="meal"),
        event("session_resuming", 1_999_999),
        event("session_resumed", 2_300_000),
    )
    for track in ("cam-1", "mic-1"):
        assert gaps(layout, track) == [("pause", 1.5, 2.3)]
        entry = account(layout, track)
        assert entry["expected_us"] == pytest.approx(1_200_000 + 1_700_000, abs=30_000)
        assert entry["captured_us"] == entry["expected_us"]
    ends = [one["end_us"] for one in lines(layout, "seg", "cam-1")]
    assert 1_500_000 in [round(end, -3) for end in ends]
    (close,) = lines(layout, "close")
    assert close["live"] == [[LIVE_US, 1_500_000], [2_300_000, END_US]]


def test_media_in_a_pause_is_not_recorded(make: Make) -> None:
    layout = make(
        *mic(microphone()),
        event("session_paused", 1_500_000, reason="consult_counsel"),
        event("session_resuming", 2_500_000),
        event("session_resumed", 2_500_000),
    )
    stored = [(one["t0_us"], one["end_us"]) for one in lines(layout, "seg", "mic-1")]
    assert not [span for span in stored if span[0] < 2_400_000 and span[1] > 1_600_000]


def test_a_track_is_taken_back_and_published_again(make: Make) -> None:
    stream = microphone()
    layout = make(
        binding(1, "mic-1", "opus", stream.ssrc),
        (one for one in packets_of(stream, 1) if one.arrival_us < 1_000_000),
        event("track_unpublished", 1_000_000, track_id="mic-1"),
        binding(5, "mic-1", "opus", stream.ssrc, 2_990_000),
        (one for one in packets_of(stream, 5) if one.arrival_us > 3_000_000),
    )
    assert gaps(layout, "mic-1") == []
    expected = 1_000_000 - LIVE_US + END_US - 3_000_000
    assert account(layout, "mic-1")["expected_us"] == pytest.approx(expected, abs=50_000)


def test_a_reconnection_goes_on_in_the_same_track(make: Make) -> None:
    again = camera(50, ssrc=77, start_us=2_500_000, first_seq=1, first_timestamp=1234)
    layout = make(
        *cam(camera(45)), binding(8, "cam-1", "H264", 77, 2_400_000), packets_of(again, 8)
    )
    assert gaps(layout, "cam-1") == [("network", 1.62, 2.52)]
    segments = lines(layout, "seg", "cam-1")
    assert [one["rtp"]["ssrc"] for one in segments] == [0x1111, 0x1111, 77, 77]
    assert all(a["media_end"] <= b["media_t0"] for a, b in pairwise(segments))
    assert segments[2]["media_t0"] == 2_520_000 * 9 // 100
    assert decoded(layout, "cam-1") == 95


def test_without_key_frames_a_segment_ends_at_twice_its_length(make: Make) -> None:
    stream = picture_stream("H264", pictures("H264", 120, 120, 160, 96))
    layout = make(*cam(stream))
    segments = lines(layout, "seg", "cam-1")
    assert [one["key"] for one in segments] == [True, False]
    assert segments[0]["end_us"] - segments[0]["t0_us"] == pytest.approx(2_000_000, abs=40_000)
    assert decoded(layout, "cam-1") == 120


def test_picture_and_sound_stay_in_step(make: Make) -> None:
    """The sound is 150 ms longer on its way than the picture; the ledger knows better."""
    picture, sound = camera(), microphone(delay_us=170_000)
    reports = [picture.report(0, 0, at_us) for at_us in range(400_000, END_US, 500_000)]
    reports += [sound.report(0, 1, at_us) for at_us in range(450_000, END_US, 500_000)]
    late = [one._replace(arrival_us=one.arrival_us + 20_000) for one in reports]
    layout = make(*cam(picture), *mic(sound), iter(late))
    # Both streams begin at the same moment.
    picture_us = lines(layout, "seg", "cam-1")[0]["t0_us"]
    sound_us = lines(layout, "seg", "mic-1")[0]["t0_us"]
    assert abs(picture_us - sound_us) < 2_000
    # What the file says is when the first packet came.
    assert lines(layout, "seg", "mic-1")[0]["media_t0"] == 290_000 * 48 // 1000
    for track in ("cam-1", "mic-1"):
        assert account(layout, track)["gaps"] == 0


@pytest.mark.parametrize("start_us", [5_300_000, 13_000_000])
def test_a_long_stop_ends_the_segment(make: Make, start_us: int) -> None:
    """Nothing for some seconds and then on, without a loss: the camera stood still."""
    first = camera(30)
    number = first.packets[-1].seq + 1
    then = camera(60, start_us=start_us, first_seq=number)
    layout = make(*cam(first), packets_of(then, 0), end_us=start_us + 2_000_000)
    assert [cause for cause, *_ in gaps(layout, "cam-1")] == ["device"]
    segments = lines(layout, "seg", "cam-1")
    assert segments[0]["end_us"] < 1_200_000
    assert segments[1]["t0_us"] == pytest.approx(start_us + 20_000, abs=1000)


def test_a_page_that_rests_is_no_gap(make: Make) -> None:
    """What no camera does, a shared window or a document may."""
    stream = picture_stream("VP8", pictures("VP8", 2, 2, 160, 96, 1), step_us=4_500_000, ssrc=9)
    layout = make(binding(2, "evidence-1", "VP8", 9), packets_of(stream, 2), end_us=6_000_000)
    assert gaps(layout, "evidence-1") == []


def test_packets_that_are_not_the_tracks_are_ignored(make: Make) -> None:
    other = Stream(5, 48_000, 0, [Packet(500_000, rtp(1, 1, 5, b"\xf8\x00"))])
    layout = make(*mic(microphone()), packets_of(other, 1), packets_of(other, 9))
    assert decoded(layout, "mic-1") == 195


def test_names_and_codecs_are_in_the_ledger(make: Make) -> None:
    layout = make(*cam(camera()), *mic(microphone()))
    (init,) = lines(layout, "init", "cam-1")
    assert init["codec"] == "avc3.42C014"
    assert (init["container"], init["timescale"], init["ssrc"]) == ("cmaf", 90_000, 0x1111)
    assert (init["source"], init["participant"], init["site"]) == ("camera", "p-1", "site-1")


@pytest.mark.parametrize("seed", [1, 2, 165, 176, 191])
def test_nonsense_from_a_sender_is_loss_and_nothing_else(make: Make, seed: int) -> None:
    """Bits flipped, packets cut short, reports with any time: the archive is sealed all the same.

    The last three once moved a segment before the one before it.
    """
    chance = random.Random(seed)

    def spoilt(packets: Iterator[wire.RtpInput]) -> Iterator[wire.RtpInput]:
        for one in packets:
            content, luck = bytearray(one.packet), chance.random()
            if luck < 0.05:
                for _ in range(chance.randrange(1, 6)):
                    content[chance.randrange(len(content))] = chance.randrange(256)
            elif luck < 0.08:
                content[chance.randrange(min(30, len(content)))] ^= 1 << chance.randrange(8)
            elif luck < 0.10:
                content = content[: chance.randrange(len(content))]
            elif luck < 0.11:
                content[4:8] = chance.randbytes(4)
            elif luck < 0.12:
                content[2:4] = chance.randbytes(2)
            elif luck < 0.14:
                continue
            late_us = chance.choice((0, 0, 0, 100_000, 400_000))
            arrival_us = min(one.arrival_us + late_us, END_US + 290_000)
            yield one._replace(packet=bytes(content), arrival_us=arrival_us)

    def lying(stream: Stream, index: int) -> Iterator[wire.SenderReportInput]:
        for at_us in range(300_000, END_US, 300_000):
            ntp, rtp_time = chance.getrandbits(64), chance.getrandbits(32)
            report = stream.report(0, index, at_us)
            report = report._replace(ntp=ntp) if chance.random() < 0.2 else report
            yield report._replace(rtp=rtp_time) if chance.random() < 0.2 else report

    screen = picture_stream("VP8", pictures("VP8", 120, 30, 160, 96), ssrc=3)
    streams = (camera(), microphone(), screen)
    make(
        *(
            binding(index, track, codec, stream.ssrc)
            for index, (track, codec, stream) in enumerate(
                zip(("cam-1", "mic-1", "evidence-1"), ("H264", "opus", "VP8"), streams, strict=True)
            )
        ),
        *(spoilt(packets_of(stream, index)) for index, stream in enumerate(streams)),
        *(lying(stream, index) for index, stream in enumerate(streams)),
    )


def test_an_event_that_cannot_be_written_stops_nothing(make: Make) -> None:
    layout = make(
        *mic(microphone()),
        event("marker_added", 1_000_000, text="x" * 300_000),
        event("marker_added", 1_100_000, text=float("nan")),
        event("marker_added", 1_200_000, text="\ud800 供述"),
    )
    marked = [one["event"] for one in lines(layout, "event") if "marker" in one["event"]["type"]]
    assert [one.get("omitted", "")[-5:] for one in marked] == ["bytes", "Error", ""]
