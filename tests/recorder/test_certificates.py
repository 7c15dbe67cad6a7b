"""The keys that an installation makes for itself."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recorder import certificates
from rooms.errors import ArchiveDirUnwritable, ConfigInvalid


def test_keys_are_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "certificates"
    job = certificates.ensure(directory)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert certificates.ensure(directory, "http://tsa.example/") == type(job)(
        job.cert_path,
        job.key_path,
        job.chain_path,
        job.tsa_cert_path,
        job.tsa_key_path,
        "http://tsa.example/",
    )
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    assert sorted(path.name for path in tmp_path.glob("a/*")) == ["certificates"]


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "c")
    keys = list((tmp_path / "c").glob("*.key"))
    assert len(keys) == 3
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}


def test_openssl_accepts_both_for_their_purposes(tmp_path: Path) -> None:
    job = certificates.ensure(tmp_path / "c")
    for certificate, purpose in ((job.cert_path, "any"), (job.tsa_cert_path, "timestampsign")):
        command = [
            "openssl", "verify", "-x509_strict", "-CAfile", job.chain_path,
            "-purpose", purpose, certificate,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=20)
    command = ["openssl", "verify", "-CAfile", job.chain_path, "-purpose", "timestampsign"]
    refused = subprocess.run(
        [*command, job.cert_path], check=False, capture_output=True, timeout=20
    )
    assert refused.returncode != 0


def test_what_the_operator_put_there_stays(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    (directory / certificates.TSA_TRUSTED).write_text("roots")
    job = certificates.ensure(directory)
    assert job.tsa_roots_path == str(directory / certificates.TSA_TRUSTED)
    assert (directory / certificates.TSA_TRUSTED).read_text() == "roots"


def test_a_key_that_is_lost_is_not_quietly_replaced(tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "c")
    (tmp_path / "c" / "seal.key").unlink()
    with pytest.raises(ConfigInvalid, match=r"seal\.key"):
        certificates.ensure(tmp_path / "c")


def test_programs_that_start_together_have_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: certificates.ensure(tmp_path / "c"), range(4)))
    assert len(list((tmp_path / "c").iterdir())) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveDirUnwritable):
        certificates.ensure(tmp_path / "file" / "c")
