"""Steps 1 to 3: the files are there, no others, and have the digests of the manifests."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping

from recorder.verify.chain import MediaFile
from recorder.verify.report import Findings
from recorder.verify.tree import MAX_FILES, Tree, is_plain_path

BAGIT, BAG_INFO, SESSION = "bagit.txt", "bag-info.txt", "session.json"
MANIFEST, TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
CHAIN, CHECKPOINTS = "data/chain.jsonl", "data/checkpoints.txt"
SEAL, STAMP = "seal/seal.p7s", "seal/seal.tsr"

TAGS = (BAGIT, BAG_INFO, SESSION, MANIFEST)
REQUIRED = (*TAGS, TAG_MANIFEST, CHAIN, CHECKPOINTS, SEAL, STAMP)
"""Without these it is not a sealed archive."""

_LINE = re.compile(rb"([0-9a-f]{64})  ([^\r\n]+)\n")
_BAGIT_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def parse_manifest(
    content: bytes, name: str, step: int, findings: Findings
) -> dict[str, tuple[str, int]]:
    """Path to (SHA-256, line number) of a manifest in the form that ``sha256sum -c`` reads.

    Each line that is none, names a path twice or one that leaves the archive is a finding.
    """
    entries: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(io.BytesIO(content), 1):
        place = f"line {number}"
        if number > MAX_FILES:
            findings.add(step, name, place, f"at most {MAX_FILES} lines", "more")
            break
        match = _LINE.fullmatch(line)
        path = match[2].decode("utf-8", "surrogateescape") if match else ""
        if match is None:
            shown = line[:100].decode("utf-8", "replace")
            findings.add(step, name, place, "<64 hexadecimal digits>  <path>", shown)
        elif not is_plain_path(path):
            findings.add(step, name, place, "a path inside the archive", path)
        elif path in entries:
            findings.add(step, name, place, "each file once", f"{path} again")
        else:
            entries[path] = (match[1].decode(), number)
    return entries


def check_layout(tree: Tree, listed: Mapping[str, object], findings: Findings) -> None:
    """Step 1: every needed file is there, and none that neither manifest nor format knows.

    ``listed`` are the paths of the payload manifest; when it is not the one that was signed (step
    2), the files that it does not list are no fault of the layout. In ``seal/`` other files may
    lie: proofs and receipts are added after sealing and speak for themselves.
    """
    for path in REQUIRED:
        if path not in tree.files:
            findings.add(1, path, "", "a file", "nothing")
    for path in sorted(tree.files):
        known = path in REQUIRED or path in listed or path.startswith("seal/")
        excused = path.startswith("data/") and findings.blames(2, MANIFEST)
        if not known and not excused:
            findings.add(1, path, "", "no file that no manifest lists", "a file")
    findings.details[1] = f"{len(tree.files)} files, no link, none that no manifest lists"


def check_tags(
    tags: Mapping[str, bytes | None],
    signed: bytes | None,
    signed_digest: str | None,
    findings: Findings,
) -> None:
    """Step 2: the tag manifest covers exactly the four files above it and has their digests.

    ``signed_digest`` is what the CMS signature was made over, as far as it holds: when the tag
    manifest is not that, its lines accuse nobody, so it is named first.
    """
    if signed is None:
        findings.add(2, TAG_MANIFEST, "", "a file", "nothing that can be read")
        return
    if (
        signed_digest is not None
        and (actual := hashlib.sha256(signed).hexdigest()) != signed_digest
    ):
        findings.add(2, TAG_MANIFEST, "", f"SHA-256 {signed_digest}, which was signed", actual)
    entries = parse_manifest(signed, TAG_MANIFEST, 2, findings)
    for path in sorted(entries.keys() - set(TAGS)):
        findings.add(2, TAG_MANIFEST, f"line {entries[path][1]}", "only the four tag files", path)
    for path in TAGS:
        content = tags[path]
        if path not in entries:
            findings.add(2, TAG_MANIFEST, "", f"a line for {path}", "none")
        elif content is None:
            findings.add(2, path, "", "a file", "nothing that can be read")
        elif (digest := hashlib.sha256(content).hexdigest()) != entries[path][0]:
            findings.add(2, path, "", f"SHA-256 {entries[path][0]}", digest)
    if (declaration := tags[BAGIT]) is not None and declaration != _BAGIT_TEXT:
        shown = declaration[:100].decode("utf-8", "replace")
        findings.add(2, BAGIT, "", "BagIt-Version: 1.0 in UTF-8", shown)
    findings.details[2] = "the four tag files have the signed digests"


def check_payload(
    tree: Tree,
    entries: Mapping[str, tuple[str, int]],
    digests: Mapping[str, str],
    bag_info: Mapping[str, str],
    media: Mapping[str, MediaFile],
    findings: Findings,
) -> None:
    """Step 3: every file under ``data/`` is in the manifest and has its digest.

    Names the file and, from the ledger, track and time of a segment. When the manifest itself is
    not the one that was signed, a line that disagrees with file and ledger is what was changed.
    """
    for path, (expected, number) in sorted(entries.items()):
        actual = digests.get(path)
        written = media.get(path)
        place = written.place if written else ""
        if not path.startswith("data/"):
            findings.add(3, MANIFEST, f"line {number}", "a path below data/", path)
        elif path not in tree.files:
            findings.add(3, path, place, f"SHA-256 {expected}", "no such file")
        elif actual is None:
            findings.add(3, path, place, f"SHA-256 {expected}", "cannot be read")
        elif actual != expected:
            if findings.blames(2, MANIFEST) and written and written.sha256 == actual:
                findings.add(3, MANIFEST, f"line {number}, for {path}", actual, expected)
            else:
                findings.add(3, path, place, f"SHA-256 {expected}", actual)
    for path in sorted(tree.files):
        if path.startswith("data/") and path not in entries:
            findings.add(3, path, "", "a line in the manifest", "none")
    payload = [size for path, size in tree.files.items() if path.startswith("data/")]
    oxum = f"{sum(payload)}.{len(payload)}"
    if bag_info.get("Payload-Oxum", oxum) != oxum:
        findings.add(3, BAG_INFO, "Payload-Oxum", bag_info["Payload-Oxum"], oxum)
    findings.details[3] = f"{len(payload)} files, {sum(payload)} bytes, have the signed digests"


def parse_bag_info(content: bytes | None) -> dict[str, str]:
    """The labels of ``bag-info.txt`` (RFC 8493, 2.2.2); what is no label is left out."""
    text = (content or b"").decode("utf-8", "replace")
    pairs = (line.partition(":") for line in text.splitlines()[:1000])
    return {label.strip(): value.strip() for label, colon, value in pairs if colon}
