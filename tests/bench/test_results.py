"""From measured figures to rows, tables and targets of each benchmark."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench import capacity, forward, join, soak
from bench.sessions import Account, sum_up
from bench.windows import Figures, Window, figures

WINDOW = Window(
    seconds=10.0,
    sent=2000,
    received=8000,
    lost=0,
    reordered=0,
    cpu_ns=200_000_000,
    p50_ms=0.4,
    p99_ms=3.0,
    max_ms=9.0,
    client_share=0.2,
)
WHOLE = Account(0, 0, 0)


def measured(packet_us: float, p99_ms: float = 3.0) -> Figures:
    window = replace(WINDOW, cpu_ns=round(packet_us * 1000 * 10_000), p99_ms=p99_ms)
    return figures([window, window, window], "SRTP_AEAD_AES_128_GCM", 1500)


def row(name: str, ours: Figures, janus: Figures | None) -> forward.Row:
    scenario = next(s for s in forward.scenarios() if s.name == name)
    bare = None if scenario.record else measured(9)
    return forward.Row(scenario, "VP8", ours, janus, bare, WHOLE if scenario.record else None)


def test_windows_are_brought_together_by_their_median() -> None:
    windows = [replace(WINDOW, cpu_ns=WINDOW.cpu_ns * n, lost=n) for n in (1, 2, 9)]
    found = figures(windows, "p", 7)
    assert (found.packet_us_least, found.packet_us, found.packet_us_most) == (20.0, 40.0, 180.0)
    assert (found.lost, found.in_per_s, found.out_per_s) == (12, 200.0, 800.0)
    assert found.cpu_share == 0.04
    assert found.client_us == 200.0


def test_the_rows_are_those_of_the_issue() -> None:
    plain = ["mesh-2", "mesh-6", "one-to-5", "one-to-10", "one-to-20"]
    assert [s.name for s in forward.scenarios()] == plain + [f"{name}+rec" for name in plain]


def test_forwarding_is_held_against_janus() -> None:
    rows = [
        row("mesh-2", measured(18, p99_ms=2.0), measured(40)),
        row("mesh-2+rec", measured(24, p99_ms=4.0), measured(40)),
        row("one-to-5", measured(18), None),
    ]
    found = [(t.value, t.target, t.met) for t in forward.targets(rows)]
    assert found == [
        (0.45, 0.45, True),
        (0.667, 1.0, True),
        (0.6, 0.6, True),
        (1.333, 1.0, False),
        (None, 0.45, None),
        (None, 1.0, None),
    ]
    assert len(forward.table(rows).splitlines()) == 1 + 3 + 2 + 2
    assert rows[2].to_json()["janus"] is None
    assert rows[1].to_json()["archive"] == {"lost_packets": 0, "gaps": 0, "gap_us": 0}


def test_a_step_holds_when_nothing_is_lost_or_late() -> None:
    pair = replace(WINDOW, received=1990)
    assert capacity.failure_of(pair, WHOLE) == ""
    assert "archives lack 3 packets" in capacity.failure_of(pair, Account(3, 1, 20_000))
    assert "live packets lost" in capacity.failure_of(replace(pair, lost=1), WHOLE)
    assert "only 50% " in capacity.failure_of(replace(pair, received=1000), WHOLE)
    assert "p99 latency" in capacity.failure_of(replace(pair, p99_ms=20.1), WHOLE)


def test_capacity_is_the_last_step_that_held() -> None:
    steps = [
        capacity.Step(4, WINDOW, WHOLE, 100, 200, ""),
        capacity.Step(8, WINDOW, WHOLE, 100, 400, ""),
        capacity.Step(12, None, WHOLE, 0, 0, "TimeoutError: ", "it could not be set up"),
    ]
    assert capacity.held(steps) == 8
    assert capacity.targets(steps)[0].met is False
    assert len(capacity.table(steps).splitlines()) == 4


@pytest.mark.parametrize(("holds", "tried"), [(41, 7), (10, 4), (9, 3), (60, 4), (0, 3)])
def test_capacity_doubles_and_then_halves_the_distance(holds: int, tried: int) -> None:
    steps: list[capacity.Step] = []
    while (count := capacity.next_count(steps, 10, 3, 60)) is not None:
        failure = "" if count <= holds else "too many"
        steps.append(capacity.Step(count, WINDOW, WHOLE, 0, 0, failure))
    assert holds - 3 < capacity.held(steps) <= holds
    assert len(steps) == tried


def test_what_failed_with_fewer_does_not_hold_with_more() -> None:
    steps = [capacity.Step(n, WINDOW, WHOLE, 0, 0, "x" if n == 15 else "") for n in (10, 15, 20)]
    assert capacity.held(steps) == 10


def test_the_resource_that_ends_it_is_named() -> None:
    full = replace(WINDOW, cpu_ns=9_700_000_000, recorder_ns=2_000_000_000)
    assert capacity.limit_of(full) == "the server's CPU: server 77%, recorders 20%"
    assert capacity.limit_of(replace(full, client_share=0.95)).startswith("the clients' CPU")
    assert capacity.limit_of(WINDOW).startswith("no CPU was full")
    assert capacity.limit_of(replace(WINDOW, busy_ns=9_900_000_000)).startswith(
        "others' processes took 97%"
    )


def test_the_first_picture_has_its_limit() -> None:
    rows = [join.Row(1, (90_000, 480_000), (90_000, 480_000)), join.Row(2, (510_000,), (600_000,))]
    assert [t.met for t in join.targets(rows)] == [True, False]
    assert len(join.table(rows).splitlines()) == 3


def test_growth_compares_the_thirds_after_the_warm_up() -> None:
    assert soak.growth([90.0, *[100.0] * 9, *[100.0] * 10]) == 0.0
    assert soak.growth([float(n) for n in range(20)]) == pytest.approx(12.0)
    assert soak.growth([1.0, 2.0]) is None


def test_a_soak_that_grows_is_seen() -> None:
    flat = soak.Sample(10.0, 100.0, 40.0, 30, 19, 0.05, 0.6, 1.0)
    assert all(t.met for t in soak.targets([flat] * 30, WHOLE))
    leaking = [replace(flat, server_descriptors=30 + n) for n in range(30)]
    missed = [t.name for t in soak.targets(leaking, Account(1, 0, 0)) if not t.met]
    assert missed == ["server descriptors growth", "packets lost in the archive"]
    assert len(soak.table([flat] * 3).splitlines()) == 4


def test_a_ledger_says_what_is_missing() -> None:
    lines = [
        {"type": "open"},
        {"type": "seg", "lost": 2},
        {"type": "seg", "lost": 1},
        {"type": "close", "tracks": [{"gaps": 1, "gap_us": 400}, {"gaps": 0, "gap_us": 0}]},
    ]
    *before, closing = (json.dumps(line) for line in lines)
    found = sum_up("\n".join([*before, closing]))
    assert found == Account(3, 1, 400)
    assert not found.whole
    with pytest.raises(ValueError, match="not closed"):
        sum_up("\n".join(before))
