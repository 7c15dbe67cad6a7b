"""What an installation trusts: its own certificates and those that its settings name."""

from __future__ import annotations

from pathlib import Path

from recorder import certificates
from server.config import Config, SealSection
from server.trust import trusted_files


def test_nothing_before_the_first_start(config: Config) -> None:
    assert trusted_files(config) == []


def test_the_installations_own_and_those_named(config: Config, tmp_path: Path) -> None:
    certificates.ensure(config.certificates_dir)
    own = config.certificates_dir / certificates.TRUSTED
    assert trusted_files(config) == [own]
    outside = config.certificates_dir / certificates.TSA_TRUSTED
    outside.write_bytes(own.read_bytes())
    chain, roots = tmp_path / "chain.pem", tmp_path / "roots.pem"
    seal = SealSection(cert=chain, key=chain, chain=chain, tsa_roots=roots)
    assert trusted_files(config.model_copy(update={"seal": seal})) == [own, outside, chain, roots]
