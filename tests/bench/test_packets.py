"""What the load client reads from packets: gaps, reorderings, whole key frames."""

from __future__ import annotations

from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket

from bench.media import MAX_BODY, STAMP_BYTES, cut, cut_h264
from bench.packets import KeyFrameWatch, Reception, payload_offset, starts_key_frame
from bench.sending import extension

FIRST, LATER = b"\x90\x80\x80\x01", b"\x80\x80\x80\x01"
KEY, DELTA = b"\x50", b"\x51"


def packet(sequence: int, payload: bytes, *, marker: bool = False) -> bytes:
    made = RtpPacket(payload_type=96, sequence_number=sequence, ssrc=5, marker=int(marker))
    made.payload = payload
    return bytes(made.serialize())


def took(*sequence: int) -> Reception:
    reception = Reception(1, video=True)
    for number in sequence:
        reception.take(number)
    return reception


def test_a_gap_is_lost_until_it_comes_late() -> None:
    assert took(1, 2, 5).lost == 2
    late = took(1, 2, 5, 4)
    assert (late.lost, late.reordered, late.packets_received, late.max_seq) == (1, 1, 4, 5)


def test_numbers_go_around() -> None:
    around = took(65534, 65535, 0, 2)
    assert (around.lost, around.reordered, around.max_seq) == (1, 0, 2)
    assert around.report(0).highest_sequence == 0x1_0002
    assert took(65534, 1).report(0).highest_sequence == 0x1_0001
    assert took(0, 1).report(0).highest_sequence == 1


def test_the_first_number_may_be_any() -> None:
    assert took(40000).lost == 0
    assert took(0, 1).lost == 0


def test_the_fraction_lost_is_that_since_the_last_report() -> None:
    reception = took(1, 2, 4)
    assert reception.report(0).fraction_lost == 256 // 4
    reception.take(5)
    report = reception.report(0)
    assert (report.fraction_lost, report.packets_lost) == (0, 1)


def test_a_report_says_how_old_the_senders_is() -> None:
    reception = took(1)
    assert reception.report(5).dlsr == 0
    reception.sender_report = (0x1234, 1_000_000_000)
    report = reception.report(1_500_000_000)
    assert (report.lsr, report.dlsr) == (0x1234, 65536 // 2)


def test_a_key_frame_is_whole_with_all_its_packets_in_order() -> None:
    watch = KeyFrameWatch()
    assert not watch.take(packet(9, FIRST + DELTA, marker=True))
    assert not watch.take(packet(10, FIRST + KEY))
    assert not watch.take(packet(11, LATER + b"x"))
    assert watch.take(packet(12, LATER + b"x", marker=True))


def test_a_key_frame_with_a_hole_does_not_count() -> None:
    watch = KeyFrameWatch()
    assert not watch.take(packet(10, FIRST + KEY))
    assert not watch.take(packet(12, LATER + b"x", marker=True))
    assert watch.take(packet(13, FIRST + KEY, marker=True))


def test_descriptors_of_every_form_are_read() -> None:
    assert starts_key_frame(b"\x10" + KEY)
    assert starts_key_frame(b"\x90\x00" + KEY)
    assert starts_key_frame(b"\x90\x80\x01" + KEY)
    assert starts_key_frame(b"\x90\xf0\x80\x01\x02\x03" + KEY)
    assert not starts_key_frame(b"\x10" + DELTA)
    assert not starts_key_frame(b"\x11" + KEY)
    assert not starts_key_frame(b"\x90\x80\x80\x01")
    assert not starts_key_frame(b"")


def test_the_payload_begins_after_sources_and_extensions() -> None:
    assert payload_offset(packet(1, b"x")) == 12
    made = RtpPacket(payload_type=96)
    made.csrc = [1, 2]
    assert payload_offset(bytes(made.serialize())) == 20
    head = b"\x90\x60\x00\x01" + bytes(8)
    assert payload_offset(head + extension((1, b"0")) + b"x") == 20


def test_the_mid_is_an_extension_as_others_read_it() -> None:
    extensions = HeaderExtensionsMap()
    extensions._HeaderExtensionsMap__ids.mid = 3  # type: ignore[attr-defined]
    head = b"\x90\x60\x00\x01" + bytes(8)
    for mid in ("0", "12", "video"):
        read: HeaderExtensions = RtpPacket.parse(
            head + extension((3, mid.encode())) + b"x", extensions
        ).extensions
        assert read.mid == mid


def test_a_frame_is_cut_without_the_room_for_the_time() -> None:
    frame = bytes(range(256)) * 20
    bodies = cut(frame)
    assert len(bodies) == -(-len(frame) // MAX_BODY)
    assert all(0 < len(body) <= MAX_BODY - STAMP_BYTES for body in bodies)
    assert sum(len(body) + STAMP_BYTES for body in bodies) == len(frame)


def test_an_h264_picture_is_cut_as_the_standard_has_it() -> None:
    sets, slice_of = [b"\x67sequence", b"\x68picture"], b"\x65" + bytes(range(1, 251)) * 12
    frame = b"".join(b"\0\0\0\1" + unit for unit in [b"\x06sei", *sets, slice_of, b"\x0c\xff"])
    ahead, *fragments = [body + b"s" * STAMP_BYTES for body in cut_h264(frame)]
    units, at = [], 1
    while at < len(ahead):
        size = int.from_bytes(ahead[at : at + 2])
        units.append(ahead[at + 2 : at + 2 + size])
        at += 2 + size
    assert ahead[0] & 0x1F == 24
    assert units[:2] == sets
    assert units[2][0] == 6
    assert units[2].endswith(b"s" * STAMP_BYTES)
    assert [part[0] & 0x1F for part in fragments] == [28] * 3
    assert [part[1] for part in fragments] == [0x85, 0x05, 0x45]
    assert sum(len(part) - 2 for part in fragments) == len(slice_of) - 1
    assert all(len(part) <= MAX_BODY for part in fragments)
    assert cut_h264(b"\0\0\1\x41" + b"p" * 20) == (b"\x41" + b"p" * (20 - STAMP_BYTES),)
