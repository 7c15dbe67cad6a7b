"""Every way to change a sealed archive, and the step and file that the verifier names for it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder import certificates, merkle
from recorder.archive import Layout
from recorder.checkpoint import SessionKey
from recorder.seal import seal_archive
from recorder.verify import Report, Trust, verify

CHAIN, CHECKPOINTS = "data/chain.jsonl", "data/checkpoints.txt"
CAM = "data/tracks/cam-1"
SEGMENT = f"{CAM}/000002.m4s"
TAGS = ("bagit.txt", "bag-info.txt", "session.json", "manifest-sha256.txt")

# One of each kind of file, with the first step that must name it.
KINDS = {
    "bagit.txt": 2,
    "bag-info.txt": 2,
    "session.json": 2,
    "manifest-sha256.txt": 2,
    "tagmanifest-sha256.txt": 2,
    CHAIN: 3,
    CHECKPOINTS: 3,
    f"{CAM}/init.mp4": 3,
    SEGMENT: 3,
    f"{CAM}/index.m3u8": 3,
    "data/tracks/mic-1/000001.m4s": 3,
    "data/tracks/evidence-1/init.webm": 3,
    "data/tracks/evidence-1/000002.webm": 3,
    "seal/seal.p7s": 7,
    "seal/seal.tsr": 8,
}


def named(report: Report) -> set[tuple[int, str]]:
    return {(failure.step, failure.file) for failure in report.failures}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def rewrite_manifests(root: Path) -> None:
    """What anybody can do without a key."""
    files = sorted(p for p in (root / "data").rglob("*") if p.is_file())
    lines = sorted((path.relative_to(root).as_posix(), sha256(path.read_bytes())) for path in files)
    manifest = "".join(f"{digest}  {path}\n" for path, digest in lines)
    (root / "manifest-sha256.txt").write_text(manifest)
    octets = sum(path.stat().st_size for path in files)
    info = (root / "bag-info.txt").read_text().splitlines()[:-1]
    (root / "bag-info.txt").write_text("\n".join([*info, f"Payload-Oxum: {octets}.{len(files)}\n"]))
    tags = "".join(f"{sha256((root / name).read_bytes())}  {name}\n" for name in TAGS)
    (root / "tagmanifest-sha256.txt").write_text(tags)


def seal_again(root: Path, keys: Any) -> Path:
    """What an insider can do who has the sealing key, the time-stamp key and this program."""
    session = json.loads((root / "session.json").read_text())["session"]
    digests = {
        path.relative_to(root).as_posix(): (path.stat().st_size, sha256(path.read_bytes()))
        for path in (root / "data").rglob("*")
        if path.is_file()
    }
    for name in (*TAGS, "tagmanifest-sha256.txt", "seal/seal.p7s", "seal/seal.tsr"):
        (root / name).unlink()
    return seal_archive(Layout(root), session, digests, keys.job).layout.root


def read_chain(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / CHAIN).read_bytes().splitlines()]


def write_chain(root: Path, records: list[dict[str, Any]]) -> None:
    """Number and chain the lines anew, as a forger would."""
    prev, content = "0" * 64, b""
    for n, record in enumerate(records):
        record.update(n=n, prev=prev)
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        prev = sha256(line)
        content += line
    (root / CHAIN).write_bytes(content)


def sign_checkpoints(root: Path, key: SessionKey, sizes: list[int]) -> None:
    notes = []
    tree = merkle.Tree()
    for n, line in enumerate((root / CHAIN).read_bytes().splitlines(keepends=True), 1):
        tree.append(line)
        if n in sizes:
            notes.append(key.sign(n, tree.root()))
    (root / CHECKPOINTS).write_text("".join(notes))


def test_an_untouched_archive_is_sealed_and_not_anchored(archive: Path, keys: Any) -> None:
    report = verify(archive, keys.trust)
    assert report.sealed, report.failures
    assert not report.anchored
    assert "not independent" in report.reasons[0]
    assert [step.number for step in report.steps] == list(range(1, 11))


@pytest.mark.parametrize(("file", "step"), KINDS.items())
@pytest.mark.parametrize("place", [0.0, 0.3, 0.62, 0.999])
def test_one_flipped_bit_in_each_kind_of_file(
    archive: Path, keys: Any, file: str, step: int, place: float
) -> None:
    path = archive / file
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x01
    path.write_bytes(content)
    report = verify(archive, keys.trust)
    assert not report.sealed
    assert file in {failure.file for failure in report.failures}
    if file != "seal/seal.p7s":
        assert (report.failures[0].step, report.failures[0].file) == (step, file)


@pytest.mark.parametrize("file", ["seal/seal.p7s", "seal/seal.tsr"])
def test_no_byte_of_seal_and_stamp_can_change(archive: Path, keys: Any, file: str) -> None:
    """Flipped bits in every part of the structures, among them those that no signature covers."""
    whole = (archive / file).read_bytes()
    shutil.rmtree(archive / "data/tracks")
    for at in range(0, len(whole), 23):
        for bit in (0x01, 0x80):
            changed = bytearray(whole)
            changed[at] ^= bit
            (archive / file).write_bytes(changed)
            found = {failure.file for failure in verify(archive, keys.trust).failures}
            assert file in found, (at, bit)


def test_a_segment_is_named_with_track_and_time(archive: Path, keys: Any) -> None:
    (archive / SEGMENT).write_bytes((archive / SEGMENT).read_bytes()[:-1])
    failure = verify(archive, keys.trust).failures[0]
    assert (failure.step, failure.file) == (3, SEGMENT)
    assert "track cam-1, segment 2, 0:00:04.000 to 0:00:08.000, ledger line 7" in failure.place
    assert failure.expected.startswith("SHA-256 ")


def test_a_line_of_the_ledger_is_named(archive: Path, keys: Any) -> None:
    text = (archive / CHAIN).read_text()
    (archive / CHAIN).write_text(text.replace("供述", "翻供"))
    report = verify(archive, keys.trust)
    assert (3, CHAIN) in named(report)
    broken = next(f for f in report.failures if f.step == 4)
    assert (broken.file, broken.place) == (CHAIN, "line 15")
    assert "hash of line 14" in broken.expected
    # The last checkpoint before it covers the lines up to 13.
    checkpoint = next(f for f in report.failures if f.step == 6)
    assert "one of the lines 14 to 15" in checkpoint.place


def test_a_digest_that_was_changed_in_the_ledger_does_not_accuse_the_segment(
    archive: Path, keys: Any
) -> None:
    digest = sha256((archive / SEGMENT).read_bytes())
    text = (archive / CHAIN).read_text()
    (archive / CHAIN).write_text(text.replace(digest, "0" * 64))
    assert SEGMENT not in {failure.file for failure in verify(archive, keys.trust).failures}


def test_a_digest_that_was_changed_in_the_manifest_does_not_accuse_the_segment(
    archive: Path, keys: Any
) -> None:
    digest = sha256((archive / SEGMENT).read_bytes())
    path = archive / "manifest-sha256.txt"
    path.write_text(path.read_text().replace(digest, "0" * 64))
    report = verify(archive, keys.trust)
    assert named(report) == {(2, "manifest-sha256.txt"), (3, "manifest-sha256.txt")}
    assert SEGMENT in report.failures[1].place


def delete(root: Path, file: str) -> None:
    (root / file).unlink()


@pytest.mark.parametrize("file", KINDS)
def test_a_deleted_file(archive: Path, keys: Any, file: str) -> None:
    (archive / file).unlink()
    report = verify(archive, keys.trust)
    assert not report.sealed
    assert file in {failure.file for failure in report.failures}


@pytest.mark.parametrize("file", KINDS)
def test_an_empty_file(archive: Path, keys: Any, file: str) -> None:
    (archive / file).write_bytes(b"")
    report = verify(archive, keys.trust)
    assert not report.sealed
    assert file in {failure.file for failure in report.failures}


@pytest.mark.parametrize(
    "file",
    [
        f"{CAM}/000004.m4s", "data/extra.txt", "data/exhibits/photo.jpg", "extra.txt", ".hidden",
        f"{CAM}/.000002.m4s.swp", "fetch.txt", "manifest-md5.txt", "data/tracks/cam-2/init.mp4",
    ],
)  # fmt: skip
def test_an_added_file(archive: Path, keys: Any, file: str) -> None:
    (archive / file).parent.mkdir(exist_ok=True)
    (archive / file).write_bytes(b"added")
    assert (1, file) in named(verify(archive, keys.trust))


def test_an_added_file_that_the_manifest_lists(archive: Path, keys: Any) -> None:
    (archive / CAM / "000004.m4s").write_bytes(b"added")
    root = seal_again(archive, keys)
    assert (5, f"{CAM}/000004.m4s") in named(verify(root, keys.trust))


def test_proofs_and_receipts_may_be_added_and_count_for_nothing_yet(
    archive: Path, keys: Any
) -> None:
    (archive / "seal/receipts").mkdir()
    (archive / "seal/receipts/terminal-1.txt").write_text("x")
    report = verify(archive, keys.trust)
    assert report.sealed
    assert not report.anchored
    assert "receipts of terminals and witnesses: present, but not checked" in report.reasons


def rename(root: Path) -> set[tuple[int, str]]:
    (root / SEGMENT).rename(root / f"{CAM}/000009.m4s")
    return {(3, SEGMENT), (1, f"{CAM}/000009.m4s")}


def swap(root: Path) -> set[tuple[int, str]]:
    one, other = root / SEGMENT, root / f"{CAM}/000003.m4s"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return {(3, SEGMENT), (3, f"{CAM}/000003.m4s"), (5, SEGMENT)}


def truncate(root: Path) -> set[tuple[int, str]]:
    (root / SEGMENT).write_bytes((root / SEGMENT).read_bytes()[:100])
    return {(3, SEGMENT), (5, SEGMENT)}


def link_inside(root: Path) -> set[tuple[int, str]]:
    (root / SEGMENT).rename(root / "seal/moved")
    (root / SEGMENT).symlink_to(root / "seal/moved")
    return {(1, SEGMENT), (3, SEGMENT)}


def link_a_folder(root: Path) -> set[tuple[int, str]]:
    shutil.move(root / CAM, root.parent / "moved")
    (root / CAM).symlink_to(root.parent / "moved")
    return {(1, CAM), (3, SEGMENT)}


def cut_the_ledger(root: Path) -> set[tuple[int, str]]:
    lines = (root / CHAIN).read_bytes().splitlines(keepends=True)
    (root / CHAIN).write_bytes(b"".join(lines[:-4]))
    return {(3, CHAIN), (6, CHAIN), (9, CHAIN)}


def tear_the_ledger(root: Path) -> set[tuple[int, str]]:
    (root / CHAIN).write_bytes((root / CHAIN).read_bytes()[:-5])
    return {(3, CHAIN), (4, CHAIN)}


def drop_a_line(root: Path) -> set[tuple[int, str]]:
    lines = (root / CHAIN).read_bytes().splitlines(keepends=True)
    (root / CHAIN).write_bytes(b"".join(lines[:5] + lines[6:]))
    return {(3, CHAIN), (4, CHAIN), (6, CHAIN)}


def break_json(root: Path) -> set[tuple[int, str]]:
    lines = (root / CHAIN).read_bytes().splitlines(keepends=True)
    lines[5] = b'{"n":5,\n'
    (root / CHAIN).write_bytes(b"".join(lines))
    return {(3, CHAIN), (4, CHAIN)}


def break_utf8(root: Path) -> set[tuple[int, str]]:
    content = (root / CHAIN).read_bytes().replace("供述".encode(), b"\xff\xfe")
    (root / CHAIN).write_bytes(content)
    (root / "session.json").write_bytes(b"\xff\xfe{}")
    return {(4, CHAIN), (2, "session.json"), (9, "session.json")}


def drop_a_checkpoint(root: Path) -> set[tuple[int, str]]:
    lines = (root / CHECKPOINTS).read_bytes().splitlines(keepends=True)
    (root / CHECKPOINTS).write_bytes(b"".join(lines[5:]))
    return {(3, CHECKPOINTS), (9, CHAIN)}


def drop_the_last_checkpoint(root: Path) -> set[tuple[int, str]]:
    lines = (root / CHECKPOINTS).read_bytes().splitlines(keepends=True)
    (root / CHECKPOINTS).write_bytes(b"".join(lines[:-5]))
    return {(3, CHECKPOINTS), (6, CHECKPOINTS)}


@pytest.mark.parametrize(
    "change",
    [
        rename, swap, truncate, link_inside, link_a_folder, cut_the_ledger, tear_the_ledger,
        drop_a_line, break_json, break_utf8, drop_a_checkpoint, drop_the_last_checkpoint,
    ],
)  # fmt: skip
def test_changes_without_a_key(
    archive: Path, keys: Any, change: Callable[[Path], set[tuple[int, str]]]
) -> None:
    expected = change(archive)
    assert expected <= named(verify(archive, keys.trust))


def test_edit_and_rewrite_the_manifests_without_a_key(archive: Path, keys: Any) -> None:
    (archive / SEGMENT).write_bytes(b"another picture")
    rewrite_manifests(archive)
    report = verify(archive, keys.trust)
    found = named(report)
    assert {(7, "tagmanifest-sha256.txt"), (5, SEGMENT)} <= found
    assert not any(step == 3 for step, _ in found)
    assert report.steps[7].ok


def test_cut_off_the_end_and_rewrite_the_manifests(archive: Path, keys: Any) -> None:
    records = read_chain(archive)[:9]
    write_chain(archive, records)
    for number in (3,):
        (archive / f"{CAM}/{number:06d}.m4s").unlink()
    rewrite_manifests(archive)
    found = named(verify(archive, keys.trust))
    assert {(6, CHAIN), (7, "tagmanifest-sha256.txt"), (9, CHAIN)} <= found


def test_an_insider_seals_an_edited_segment_again(archive: Path, keys: Any) -> None:
    """With the sealing key and a consistent ledger, but the session key is gone."""
    content = b"another picture"
    (archive / SEGMENT).write_bytes(content)
    records = read_chain(archive)
    for record in records:
        if record.get("file") == SEGMENT:
            record.update(size=len(content), sha256=sha256(content))
    write_chain(archive, records)
    root = seal_again(archive, keys)
    report = verify(root, keys.trust)
    assert {step for step, _ in named(report)} == {6}
    first = report.failures[0]
    assert first.file == CHAIN
    assert "checkpoint 2" in first.place
    assert "one of the lines 6 to 7" in first.place


def test_an_insider_cuts_off_the_end_and_seals_again(archive: Path, keys: Any) -> None:
    records = read_chain(archive)
    del records[-2]
    write_chain(archive, records)
    sizes = (archive / CHECKPOINTS).read_text().splitlines()
    (archive / CHECKPOINTS).write_text("\n".join(sizes[:-5]) + "\n")
    records[-1]["checkpoints"] -= 1
    write_chain(archive, records)
    found = named(verify(seal_again(archive, keys), keys.trust))
    assert {step for step, _ in found} == {6}


def test_an_insider_moves_the_recording_to_another_case(archive: Path, keys: Any) -> None:
    path = archive / "session.json"
    path.write_text(path.read_text().replace("刑初17号", "刑初99号"))
    report = verify(seal_again(archive, keys), keys.trust)
    assert named(report) == {(9, "session.json")}
    assert report.failures[0].place == "case_number"


def test_an_insider_shortens_the_playlist(archive: Path, keys: Any) -> None:
    path = archive / CAM / "index.m3u8"
    path.write_text(path.read_text().replace("#EXTINF:4.000000,\n000002.m4s\n", ""))
    report = verify(seal_again(archive, keys), keys.trust)
    assert named(report) == {(5, f"{CAM}/index.m3u8")}
    assert report.failures[0].place == "entry 5"


def test_a_whole_forgery_with_a_session_key_of_its_own(archive: Path, keys: Any) -> None:
    """Nothing inside the archive can show it: that is what anchors are for."""
    records = read_chain(archive)
    forged = SessionKey(b"f" * 32, records[0]["origin"])
    records[0]["key"] = forged.verifier_key
    write_chain(archive, records)
    records[-1]["checkpoints"] = 2
    write_chain(archive, records)
    sign_checkpoints(archive, forged, [6, 8, len(records)])
    report = verify(seal_again(archive, keys), keys.trust)
    assert not report.anchored
    assert report.sealed, report.failures


def test_checkpoints_by_another_key(archive: Path, keys: Any) -> None:
    other = SessionKey(b"f" * 32, read_chain(archive)[0]["origin"])
    sign_checkpoints(archive, other, [16])
    found = verify(archive, keys.trust).failures
    assert any(f.step == 6 and f.file == CHECKPOINTS and "line 0" in f.expected for f in found)


def test_a_signature_in_another_spelling_of_the_key_id(archive: Path, keys: Any) -> None:
    """The same signature under a wrong key id is no signature of this key."""
    path = archive / CHECKPOINTS
    lines = path.read_text().splitlines()
    head, _, encoded = lines[4].rpartition(" ")
    signed = base64.b64decode(encoded)
    lines[4] = f"{head} {base64.b64encode(b'xxxx' + signed[4:]).decode()}"
    path.write_text("\n".join(lines) + "\n")
    assert (6, CHECKPOINTS) in named(verify(archive, keys.trust))


def test_trust_must_come_from_outside(archive: Path) -> None:
    report = verify(archive)
    assert named(report) == {(7, "seal/seal.p7s"), (8, "seal/seal.tsr")}
    assert "--trust" in report.failures[0].expected


def test_the_certificates_of_another_installation(archive: Path, keys: Any, tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "other")
    report = verify(archive, Trust.of_installation(tmp_path / "other"))
    assert named(report) == {(7, "seal/seal.p7s"), (8, "seal/seal.tsr")}
    assert "issued by CN=Tingxun platform CA" in report.failures[0].found


def test_a_seal_of_another_installation_put_in_its_place(
    archive: Path, keys: Any, tmp_path: Path
) -> None:
    certificates.ensure(tmp_path / "other")
    other = type(keys)(tmp_path / "other", certificates.ensure(tmp_path / "other"))
    report = verify(seal_again(archive, other), keys.trust)
    assert named(report) == {(7, "seal/seal.p7s"), (8, "seal/seal.tsr")}


def test_the_key_of_line_0_is_an_ed25519_key(archive: Path) -> None:
    name, _, material = read_chain(archive)[0]["key"].split("+", 2)
    expected = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    assert base64.b64decode(material)[1:] == expected.public_bytes_raw()
    assert name == read_chain(archive)[0]["origin"]
