"""What the demo prints, and when it counts as a success."""

import json
from pathlib import Path

import pytest

from recorder.verify.report import STEPS, Failure, Report, Step
from server.demo_report import Narrator, Result, TrackResult
from server.measure import Offset


def result(*, captured_ms: int = 9_950, failing: int = 10, offset: Offset | None = None) -> Result:
    failure = Failure(failing, "data/chain.jsonl", "line 7", "a hash", "another")
    steps = tuple(
        Step(number, name, *(((failure,), 1, "") if number == failing else ((), 0, "held")))
        for number, name in enumerate(STEPS, 1)
    )
    track = TrackResult("cam-1", "room", "camera", "vp8", 10_000, captured_ms, [{"cause": "loss"}])
    return Result(
        archive=Path("/archives/s-1"),
        session_id="s-1",
        tracks=[track],
        offset=offset,
        close_to_sealed_ms=412,
        report=Report("s-1", steps, ("nobody else says so",), "00"),
        trusted=[Path("/keys/trusted.pem")],
        replay_url="http://127.0.0.1:1/replay/s-1",
    )


def test_success_is_sealed_and_hardly_anything_missing() -> None:
    assert result().ok
    assert not result(captured_ms=9_949).ok
    assert not result(failing=9).ok


def test_json_is_one_object_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    result(offset=Offset(-1.25, 2.0, 9, "a")).print(json_output=True, serving=False)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    shown = json.loads(out)
    assert shown["av_offset_ms"] == -1.25
    assert shown["close_to_sealed_ms"] == 412
    assert shown["verify"]["sealed"] is True
    assert shown["verify"]["anchored"] is False
    assert [step["number"] for step in shown["verify"]["steps"]] == list(range(1, 11))
    assert shown["tracks"][0]["gaps"] == [{"cause": "loss"}]


def test_text_names_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    result(failing=4).print(json_output=False, serving=False)
    text = capsys.readouterr().out
    assert "captured 9950 of 10000 ms (99.50%), 1 gap" in text
    assert "step 4, data/chain.jsonl line 7: expected a hash, found another" in text
    assert "not measured" in text
    assert "without --exit" in text
    result(offset=Offset(3.0, 1.0, 5, "a")).print(json_output=False, serving=True)
    text = capsys.readouterr().out
    assert "+3.0 ms (5 pairs, spread 1.0 ms)" in text
    assert text.rstrip().endswith("/replay/s-1")


def test_progress_is_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Narrator() as narrator:
        narrator.say("[opening] a session")
        narrator.holding(1, 10, "recording")
        narrator.holding(2, 10, "not again so soon")
    out, err = capsys.readouterr()
    assert out == ""
    assert "[opening] a session" in err
    assert "1 of 10 s: recording" in err
    assert "so soon" not in err
