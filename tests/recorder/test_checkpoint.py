"""Checkpoints: the C2SP formats, and the file that they lie in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder.checkpoint import NOTE_LINES, CheckpointFile, SessionKey
from rooms.errors import FieldInvalid

ORIGIN = "tingxun.test/s-1"


def test_a_note_is_a_c2sp_checkpoint() -> None:
    key = SessionKey(bytes(range(32)), ORIGIN)
    note = key.sign(7, b"\x07" * 32)
    text, _, signature = note.rpartition("\n\n")
    assert text.split("\n") == [ORIGIN, "7", base64.b64encode(b"\x07" * 32).decode()]
    assert signature.endswith("\n")
    dash, name, encoded = signature[:-1].split(" ")
    assert (dash, name) == ("\u2014", ORIGIN)
    signed = base64.b64decode(encoded)

    key_name, key_id, material = key.verifier_key.split("+", 2)
    public = base64.b64decode(material)
    assert (key_name, public[0], len(public)) == (ORIGIN, 1, 33)
    assert key_id == signed[:4].hex()
    assert key_id == hashlib.sha256(f"{ORIGIN}\n".encode() + public).hexdigest()[:8]
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signed[4:], (text + "\n").encode())


def test_a_published_key() -> None:
    """The key in the documentation of Go's sumdb/note, where the format comes from."""
    secret = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
    key = SessionKey(secret[1:], "PeterNeumann")
    assert key.verifier_key == (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    )


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "a\u2028b", "a\0"])
def test_an_origin_that_would_break_the_note(origin: str) -> None:
    with pytest.raises(FieldInvalid):
        SessionKey(bytes(32), origin)


def test_a_seed_of_the_wrong_length() -> None:
    with pytest.raises(FieldInvalid):
        SessionKey(b"short", ORIGIN)


def test_any_prefix_of_the_file_can_be_resumed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.txt"
    key = SessionKey(bytes(32), ORIGIN)
    file = CheckpointFile.create(path)
    for size in (1, 2):
        file.append(key.sign(size, bytes(32)))
    file.close()
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 13):
        path.write_bytes(whole[:size])
        resumed = CheckpointFile.resume(path)
        assert resumed.count == whole[:size].count(b"\n") // NOTE_LINES
        resumed.append(key.sign(3, bytes(32)))
        resumed.close()
        assert path.read_bytes().count(b"\n") == resumed.count * NOTE_LINES


def test_resuming_without_a_file_starts_one(tmp_path: Path) -> None:
    assert CheckpointFile.resume(tmp_path / "checkpoints.txt").count == 0
