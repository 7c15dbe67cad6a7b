"""The order of the verification: what is read when, and which step judges it.

Reading comes first (walk, small files, seal, ledger, digests), judging after it in the order of
the steps, since some steps need what a later one knows: a tag manifest that is not the signed one
accuses nobody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from recorder.verify import manifests
from recorder.verify.chain import CHAIN, read_chain
from recorder.verify.completeness import check_completeness
from recorder.verify.media import check_media
from recorder.verify.notes import CHECKPOINTS, check_notes, parse_notes
from recorder.verify.report import Findings, Report
from recorder.verify.signature import (
    MAX_BYTES,
    Signed,
    Stamp,
    check_seal,
    check_stamp,
    read_seal,
    read_stamp,
)
from recorder.verify.tree import Tree, hash_files, scan
from recorder.verify.trust import Refused, Trust, name_of
from rooms.errors import ArchiveUnknown

_SIGNS_OF_AN_ARCHIVE = (
    manifests.TAG_MANIFEST,
    manifests.MANIFEST,
    manifests.SEAL,
    manifests.CHAIN,
)


@dataclass(slots=True)
class _Evidence:
    """What the seal folder says, as far as each part of it holds."""

    seal_der: bytes | None = None
    seal: Signed | None = None
    signed_digest: str | None = None
    stamp: Stamp | None = None
    stamp_path: list[x509.Certificate] | None = None
    seal_path: list[x509.Certificate] | None = None


def verify(path: Path, trust: Trust | None = None, now: datetime | None = None) -> Report:
    """Verify the archive at ``path``.

    ``trust`` are the certificates that the caller trusts; without any, steps 7 and 8 cannot hold,
    since what lies in the archive cannot vouch for itself. ``now`` (aware, default the system's
    time) counts only when no time stamp says when the archive was sealed.

    Whatever is wrong with the archive is in the report. Raises :class:`ArchiveUnknown` when
    ``path`` is no archive at all.
    """
    root = Path(path)
    try:
        known = root.is_dir() and any((root / name).is_file() for name in _SIGNS_OF_AN_ARCHIVE)
    except OSError as error:
        raise ArchiveUnknown(f"{root} cannot be read: {error.strerror}") from error
    if not known:
        raise ArchiveUnknown(f"{root} is no archive")
    findings = Findings()
    tree = scan(root, findings)
    tags = {name: tree.read(name) for name in manifests.TAGS}
    tag_manifest = tree.read(manifests.TAG_MANIFEST)
    evidence = _read_evidence(tree, trust, now or datetime.now(UTC), findings)
    checkpoints = tree.read(CHECKPOINTS)
    notes = parse_notes(checkpoints, findings)
    chain = read_chain(tree, (note.size for note in notes), findings)
    payload = sorted(file for file in tree.files if file.startswith("data/") and file != CHAIN)
    digests = hash_files(tree, payload)
    if CHAIN in tree.files:
        digests[CHAIN] = chain.sha256
    manifest = tags[manifests.MANIFEST]
    listed = manifests.parse_manifest(manifest or b"", manifests.MANIFEST, 3, findings)
    bag_info = manifests.parse_bag_info(tags[manifests.BAG_INFO])
    media = {entry.file: entry for entry in chain.media}

    manifests.check_tags(tags, tag_manifest, evidence.signed_digest, findings)
    manifests.check_layout(tree, listed, findings)
    manifests.check_payload(tree, listed, digests, bag_info, media, findings)
    in_manifest = {name: digest for name, (digest, _) in listed.items()}
    check_media(tree, chain, digests, in_manifest, findings)
    check_notes(notes, chain, findings)
    _judge_seal(evidence, tag_manifest, findings)
    check_completeness(chain, tags[manifests.SESSION], bag_info, len(notes), findings)
    reasons = _judge_anchors(tree, evidence, findings)
    return Report(
        archive=str(root),
        steps=findings.steps(),
        reasons=tuple(reasons),
        root_sha256=hashlib.sha256(tag_manifest).hexdigest() if tag_manifest is not None else "",
    )


def _read_evidence(tree: Tree, trust: Trust | None, now: datetime, findings: Findings) -> _Evidence:
    """Steps 8 and 7 as far as they need nothing else: the stamp first, it says when to judge."""
    evidence = _Evidence(seal_der=tree.read(manifests.SEAL, MAX_BYTES))
    _read_stamp(tree, evidence, trust, findings)
    if evidence.seal_der is None:
        findings.add(7, manifests.SEAL, "", "a signature", "nothing that can be read")
        return evidence
    try:
        evidence.seal, evidence.signed_digest = read_seal(evidence.seal_der)
        at = evidence.stamp.time if evidence.stamp and evidence.stamp_path else now
        evidence.seal_path = check_seal(evidence.seal, trust, at)
    except Refused as refused:
        place = "the signer's certificate" if evidence.seal else ""
        findings.add(7, manifests.SEAL, place, refused.expected, refused.found)
    return evidence


def _read_stamp(tree: Tree, evidence: _Evidence, trust: Trust | None, findings: Findings) -> None:
    der = tree.read(manifests.STAMP, MAX_BYTES)
    if der is None:
        findings.add(8, manifests.STAMP, "", "a time stamp", "nothing that can be read")
        return
    try:
        stamp, algorithm, stamped = read_stamp(der)
    except Refused as refused:
        findings.add(8, manifests.STAMP, "", refused.expected, refused.found)
        return
    actual = hashlib.new(algorithm, evidence.seal_der or b"").digest()
    if actual != stamped:
        # The token itself holds, so it is the signature that is not the stamped one.
        expected = f"{algorithm} {stamped.hex()}, which was stamped"
        findings.add(8, manifests.SEAL, "", expected, actual.hex())
        return
    try:
        path = check_stamp(stamp, trust)
    except Refused as refused:
        place = "the authority's certificate"
        findings.add(8, manifests.STAMP, place, refused.expected, refused.found)
        return
    evidence.stamp, evidence.stamp_path = stamp, path
    issuer = name_of(stamp.signed.signer)
    findings.details[8] = f"{stamp.time:%Y-%m-%d %H:%M:%SZ} by {issuer}"


def _judge_seal(evidence: _Evidence, tag_manifest: bytes | None, findings: Findings) -> None:
    """Step 7, what was signed."""
    if evidence.seal is None or evidence.signed_digest is None:
        return
    actual = hashlib.sha256(tag_manifest or b"").hexdigest()
    if actual != evidence.signed_digest:
        expected = f"SHA-256 {evidence.signed_digest}, which was signed"
        findings.add(7, manifests.TAG_MANIFEST, "", expected, actual)
    findings.details[7] = f"by {name_of(evidence.seal.signer)}"


def _judge_anchors(tree: Tree, evidence: _Evidence, findings: Findings) -> list[str]:
    """Step 10: what speaks for the archive that its maker could not have made.

    A time stamp is independent when its chain ends at another root than the seal's. Proofs of the
    log of all sessions and receipts are not yet made; what lies in their place counts for nothing.
    """
    reasons: list[str] = []
    independent = False
    if evidence.stamp is None or not evidence.stamp_path:
        reasons.append("no time stamp that holds, by an authority that you trust")
    else:
        authority = name_of(evidence.stamp.signed.signer)
        roots = {
            path[-1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for path in (evidence.stamp_path, evidence.seal_path)
            if path
        }
        independent = evidence.seal_path is not None and len(roots) == 2
        if independent:
            reasons.append(f"time stamp by {authority}, which is independent of the seal")
        else:
            reasons.append(f"time stamp by {authority}: not independent, same root as the seal")
    for path, words in (
        ("seal/log.tlog-proof", "log of all sessions"),
        ("seal/receipts/", "receipts of terminals and witnesses"),
    ):
        present = any(file.startswith(path) for file in tree.files)
        reasons.append(f"{words}: " + ("present, but not checked" if present else "none"))
    if not independent:
        findings.add(
            10, manifests.STAMP, "", "a witness outside the platform's own keys", reasons[0]
        )
    findings.details[10] = reasons[0]
    return reasons
