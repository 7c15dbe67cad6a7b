"""config.yaml shows every key with its default and a comment; config.py reads it strictly."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from rooms.errors import ConfigInvalid
from server.config import Config

FILE = Path(__file__).parents[1] / "config.yaml"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def test_every_key_is_in_the_file_with_its_default() -> None:
    written = flatten(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    defaults = flatten(Config().model_dump(mode="json", by_alias=True))
    assert written == defaults


def test_order_is_the_same_in_both() -> None:
    written = list(flatten(yaml.safe_load(FILE.read_text(encoding="utf-8"))))
    assert written == list(flatten(Config().model_dump(by_alias=True)))


def test_every_key_has_one_sentence_above() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    for above, line in itertools.pairwise(lines):
        text = line.strip()
        if not text or text.startswith("#") or text.endswith(":"):
            continue
        assert above.strip().startswith("# "), f"no comment above {text}"
        assert above.strip().endswith("."), f"no sentence above {text}"


def test_the_file_loads_with_paths_made_absolute() -> None:
    config = Config.load(FILE)
    assert config.data_dir == FILE.parent / "var"
    assert config.archive_dir == FILE.parent / "var" / "archives"
    assert config.database_path.parent == config.data_dir


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "etc", tmp_path / "cwd"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = folder / "c.yaml"
    file.write_text("recording: {archive_dir: tapes}\n")
    assert Config.load(file).archive_dir == folder / "tapes"
    assert Config.load(file).data_dir == folder / "var"
    config = Config.load(file, {"data_dir": "here", "server.port": 0, "server.host": None})
    assert config.data_dir == elsewhere / "here"
    assert config.archive_dir == folder / "tapes"
    assert (config.server.port, config.server.host) == (0, "127.0.0.1")
    assert Config.load(file, {"server.port": 1}).data_dir == folder / "var"


def test_an_empty_file_means_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("")
    assert Config.load(file).server.port == 8080


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("servre: {}", "servre"),
        ("server: {prot: 1}", "server.prot"),
        ("server: {port: 70000}", "server.port"),
        ("server: {port: many}", "server.port"),
        ("server: {tls_cert: a.pem}", "tls_cert and tls_key"),
        ("server: {public_origin: 'ftp://x'}", "public_origin"),
        ("media: {codecs: [AV1]}", "media.codecs"),
        ("media: {codecs: []}", "media.codecs"),
        ("media: {port_min: 5000, port_max: 4000}", "port_min"),
        ("media: {port_min: 5000}", "port_min"),
        ("seal: {cert: a.pem}", "together"),
        ("data_dir: [", "c.yaml"),
        ("- 1", "c.yaml"),
        ("data_dir: 5", "data_dir"),
    ],
)
def test_what_is_not_understood_is_named(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        Config.load(file)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="missing.yaml"):
        Config.load(tmp_path / "missing.yaml")


def test_secure_follows_tls_or_the_public_origin() -> None:
    assert not Config().secure
    assert Config.load(None, {"server.public_origin": "https://hearing.example"}).secure
    assert Config.load(None, {"server.tls_cert": "a.pem", "server.tls_key": "b.pem"}).tls
