"""Sealing: stock tools must take the result, and a crash at any moment must be curable."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms

from recorder import certificates
from recorder.archive import Layout
from recorder.seal import finish, sign
from recorder.verify import verify
from rooms.errors import ArchiveBroken, ArchiveDirUnwritable, ConfigInvalid

Write = Callable[[Path], Any]


def run(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, shell=True, cwd=root, capture_output=True, text=True, check=False, timeout=30
    )


SUMS = "sha256sum --strict -c tagmanifest-sha256.txt && sha256sum --strict -c manifest-sha256.txt"


def test_the_stock_commands_pass(archive: Path, keys: Any) -> None:
    for command in (
        SUMS,
        "openssl cms -verify -binary -inform DER -in seal/seal.p7s "
        f"-content tagmanifest-sha256.txt -CAfile {keys.pem} -purpose any -out /dev/null",
        f"openssl ts -verify -data seal/seal.p7s -in seal/seal.tsr -CAfile {keys.pem}",
    ):
        done = run(archive, command)
        assert done.returncode == 0, done.stderr


def test_sha256sum_names_the_segment_of_one_changed_byte(archive: Path) -> None:
    path = archive / "data/tracks/cam-1/000002.m4s"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    done = run(archive, SUMS)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if not line.endswith(": OK")]
    assert failed == ["data/tracks/cam-1/000002.m4s: FAILED"]


def test_openssl_refuses_another_tag_manifest(archive: Path, keys: Any) -> None:
    command = (
        "openssl cms -verify -binary -inform DER -in seal/seal.p7s "
        f"-content bagit.txt -CAfile {keys.pem} -purpose any -out /dev/null"
    )
    assert run(archive, command).returncode != 0


def test_a_sealed_archive_is_in_its_place_and_read_only(
    tmp_path: Path, write: Write, keys: Any
) -> None:
    scribe = write(tmp_path)
    result = scribe.seal(keys.job)
    root = result.layout.root
    assert root == tmp_path / "s-2026-0001"
    assert [path.name for path in tmp_path.iterdir()] == [root.name]
    modes = {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()}
    folders = {path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if path.is_dir()}
    assert (modes, folders) == ({0o444}, {0o555})
    assert result.stamped == "own"
    tag_manifest = (root / "tagmanifest-sha256.txt").read_bytes()
    assert result.root_sha256 == hashlib.sha256(tag_manifest).hexdigest()
    assert verify(root, keys.trust).sealed


def test_the_signature_carries_the_chain(keys: Any) -> None:
    signed = cms.ContentInfo.load(sign(b"content", keys.job))["content"]
    names = {
        c.chosen.subject.native["common_name"].rsplit(" ", 1)[0] for c in signed["certificates"]
    }
    assert names == {"Tingxun archive seal", "Tingxun platform CA"}
    kinds = {attribute["type"].native for attribute in signed["signer_infos"][0]["signed_attrs"]}
    assert kinds == {"content_type", "signing_time", "message_digest"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda layout: (layout.track_dir("cam-1") / "segment.part").write_bytes(b"rest"),
        lambda layout: layout.segment("cam-1", 2, "cmaf").unlink(),
        lambda layout: layout.segment("cam-1", 2, "cmaf").write_bytes(b"short"),
        lambda layout: layout.checkpoints.unlink(),
        lambda layout: (layout.payload / "link").symlink_to("chain.jsonl"),
    ],
)
def test_the_seal_vouches_for_nothing_that_was_not_recorded(
    tmp_path: Path, write: Write, keys: Any, damage: Callable[[Layout], object]
) -> None:
    scribe = write(tmp_path)
    damage(scribe.layout)
    with pytest.raises(ArchiveBroken):
        scribe.seal(keys.job)
    assert scribe.layout.root.is_dir()
    assert not scribe.layout.seal.exists()


def test_an_interrupted_seal_is_made_again(tmp_path: Path, write: Write, keys: Any) -> None:
    scribe = write(tmp_path)
    for name in (
        "bagit.txt",
        ".manifest-sha256.txt.new",
        "tagmanifest-sha256.txt",
        "seal/seal.p7s",
    ):
        (scribe.layout.root / name).write_bytes(b"half")
    result = scribe.seal(keys.job)
    assert verify(result.layout.root, keys.trust).sealed


def test_a_crash_after_the_rename_leaves_only_the_modes_to_set(
    tmp_path: Path, write: Write, keys: Any
) -> None:
    root = write(tmp_path).seal(keys.job).layout.root
    root.chmod(0o755)
    (root / "bagit.txt").chmod(0o644)
    assert finish(Layout(root)).root == root
    assert (root / "bagit.txt").stat().st_mode & 0o777 == 0o444
    assert root.stat().st_mode & 0o777 == 0o555


def test_an_archive_of_that_name_is_never_replaced(tmp_path: Path, write: Write, keys: Any) -> None:
    (tmp_path / "s-2026-0001").mkdir()
    (tmp_path / "s-2026-0001" / "kept").write_text("x")
    with pytest.raises(ArchiveDirUnwritable):
        write(tmp_path).seal(keys.job)
    assert (tmp_path / "s-2026-0001" / "kept").exists()


def test_an_authority_that_does_not_answer(tmp_path: Path, write: Write, keys: Any) -> None:
    job = dataclasses.replace(keys.job, tsa_url="http://127.0.0.1:1/", tsa_roots_path=str(keys.pem))
    result = write(tmp_path).seal(job)
    assert result.stamped == "own"
    assert "cannot be reached" in str(result.stamp_problem)
    assert verify(result.layout.root, keys.trust).sealed


def test_roots_of_an_authority_that_cannot_be_read(tmp_path: Path, write: Write, keys: Any) -> None:
    job = dataclasses.replace(
        keys.job, tsa_url="http://127.0.0.1:1/", tsa_roots_path=str(tmp_path / "missing")
    )
    assert "roots cannot be read" in str(write(tmp_path).seal(job).stamp_problem)


def test_keys_that_cannot_be_used(tmp_path: Path, keys: Any) -> None:
    certificates.ensure(tmp_path / "other")
    for change in (
        {"key_path": str(tmp_path / "other" / "seal.key")},
        {"key_path": str(tmp_path / "missing")},
        {"cert_path": str(tmp_path / "other" / "seal.key")},
    ):
        with pytest.raises(ConfigInvalid):
            sign(b"content", dataclasses.replace(keys.job, **change))
