"""Jitter and delay of a stream, from a sample of its packets."""

from __future__ import annotations

import random

from far_end import Wire, packet, track

from server.sfu.arrival import Arrival

MS = 1_000_000


def test_an_even_stream_has_no_jitter_and_no_delay() -> None:
    arrival = Arrival(90_000)
    for n in range(200):
        arrival.sample(n * 3000 + 77, 10**12 + n * 100 * MS // 3)
    assert arrival.jitter <= 1
    assert abs(arrival.delay_ns) < MS


def test_jitter_is_that_of_the_line() -> None:
    arrival, draw = Arrival(48_000), random.Random(1)
    for n in range(2000):
        arrival.sample(n * 960 & 0xFFFFFFFF, 10**12 + n * 20 * MS + draw.randrange(10 * MS))
    # The mean difference of two even draws from 10 ms is a third of it.
    assert 100 < arrival.jitter < 220


def test_a_queue_that_fills_and_empties_shows() -> None:
    arrival = Arrival(90_000)
    now_ns, at = 10**12, 0
    for n in range(100):
        at += 100 * MS // 3
        # The line takes a tenth longer for each picture than the camera.
        now_ns = 10**12 + at + max(n - 50, 0) * 4 * MS
        arrival.sample(n * 3000, now_ns)
    assert 180 * MS < arrival.delay_ns < 210 * MS
    for n in range(100, 130):
        at += 100 * MS // 3
        arrival.sample(n * 3000, 10**12 + at)
    assert arrival.delay_ns < 20 * MS


def test_a_sender_that_begins_anew_starts_from_nothing() -> None:
    arrival = Arrival(90_000)
    arrival.sample(5, 10**12)
    arrival.sample(1 << 31, 10**12 + MS)
    assert (arrival.jitter, arrival.delay_ns) == (0, 0)


def test_the_receiver_report_tells_it() -> None:
    up, draw = track(Wire()), random.Random(2)
    layer = up.layers[0]
    for n in range(1000):
        layer.receive(packet(n, n * 900), 10**12 + n * 10 * MS + draw.randrange(8 * MS))
    info = layer.receiver_info()
    assert info is not None
    assert 90 < info.jitter < 700
    up.close()
