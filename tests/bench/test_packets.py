"""What the load client reads from packets: gaps, reorderings, whole key frames."""

from __future__ import annotations

from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap, RtpPacket

from bench.media import MAX_BODY, STAMP_BYTES, cut
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


def test_the_first_number_may_be_any() -> None:
    assert took(40000).lost == 0
    assert took(0, 1).lost == 0


def test_the_fraction_lost_is_that_since_the_last_report() -> None:
    reception = took(1, 2, 4)
    assert reception.fraction_lost == 256 // 4
    reception.take(5)
    assert reception.fraction_lost == 0
    assert reception.packets_lost == 1


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
