"""The command as people start it: its words, its exit codes, its first and its later starts."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from scribe import make_writable, write_session

from recorder import certificates
from server import logs
from server.cli import main

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}
COMMAND = [sys.executable, "-m", "server.cli"]
CHEAP = """
accounts: {argon2_time_cost: 1, argon2_memory_kib: 8, argon2_parallelism: 1}
data_dir: var
server: {port: 0}
media: {processes: 0}
"""


@dataclass
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: ``run("verify", path)``."""
    # A server's log must not take over the log of the tests.
    monkeypatch.setattr(logs, "configure", lambda _config: None)

    def run(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["tingxun", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CHEAP)
    return file


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[str, str]]:
    """A server of its own process: what it said when it was ready, and its address."""
    process = subprocess.Popen(
        [*COMMAND, "serve", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            found = re.search(r"serves on (\S+)", line)
            if found:
                yield said, found[1]
                break
        else:
            pytest.fail(f"the server did not start: {said}")
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)
        rest = process.stdout.read()
        process.stdout.close()
    assert code == 0, said + rest
    assert "Traceback" not in rest


def test_first_start_tells_a_password_once_and_later_starts_are_quick(settings: Path) -> None:
    with serving("--config", settings) as (said, url):
        password = re.search(r"one-time password (\S+)", said)
        assert password is not None
        request = urllib.request.Request(
            f"{url}/api/sign-in",
            json.dumps({"name": "admin", "password": password[1]}).encode(),
            {"X-Requested-With": "tingxun"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert json.load(response)["account"]["role"] == "admin"
    started = time.monotonic()
    with serving("--config", settings) as (said, _):
        assert "password" not in said
        assert time.monotonic() - started < 10
    var = settings.parent / "var"
    assert {"tingxun.sqlite3", "certificates", "archives"} <= {path.name for path in var.iterdir()}
    assert var.stat().st_mode & 0o077 == 0


def test_options_override_the_file(settings: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with serving("--config", settings, "--data-dir", other, "--host", "127.0.0.2") as (_, url):
        assert url.startswith("http://127.0.0.2:")
    assert (other / "tingxun.sqlite3").exists()
    assert not (tmp_path / "var").exists()


def one_line(said: Said, code: str) -> None:
    """The command failed with one line that names the code."""
    assert said.code == 1, said.err
    (line,) = said.err.strip().splitlines()
    assert line.startswith(f"tingxun: {code}: ")
    assert said.out == ""


def test_a_port_in_use(run: Run, settings: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run("serve", "--config", settings, "--port", port)
    one_line(said, "port_in_use")
    assert port in said.err


def test_settings_that_are_wrong(run: Run, settings: Path, tmp_path: Path) -> None:
    one_line(run("serve", "--config", tmp_path / "missing.yaml"), "config_invalid")
    settings.write_text("server: {prot: 1}")
    one_line(run("serve", "--config", settings), "config_invalid")
    settings.write_text("server: {host: 203.0.113.1, port: 0}")
    one_line(run("serve", "--config", settings), "config_invalid")


def test_certificates_that_cannot_be_read(run: Run, settings: Path) -> None:
    settings.write_text(CHEAP.replace("port: 0", "port: 0, tls_cert: a.pem, tls_key: a.key"))
    said = run("serve", "--config", settings)
    one_line(said, "config_invalid")
    assert "tls_cert" in said.err


def test_folders_that_cannot_be_written(run: Run, settings: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    within = tmp_path / "file" / "var"
    one_line(run("serve", "--config", settings, "--data-dir", within), "data_dir_unwritable")
    settings.write_text(f"{CHEAP}\nrecording: {{archive_dir: file/archives}}\n")
    one_line(run("serve", "--config", settings), "archive_dir_unwritable")


def test_people_on_the_command_line(run: Run, settings: Path) -> None:
    def user(*arguments: str) -> Said:
        return run("user", *arguments, "--config", settings)

    made = user("add", "li", "--role", "officer", "--display-name", "李警官")
    assert re.fullmatch(r"li: one-time password \S{23}\n", made.out)
    one_line(user("add", "li", "--role", "officer"), "name_taken")
    one_line(user("add", "t1", "--role", "terminal", "--site", "nowhere"), "site_unknown")
    assert user("add", "t1", "--role", "terminal", "--site", "detention-centre").code == 0
    assert user("list").out == "li\tofficer\t-\t李警官\nt1\tterminal\tdetention-centre\tt1\n"
    reset = user("reset-password", "li")
    assert re.fullmatch(r"li: one-time password \S{23}\n", reset.out)
    assert reset.out != made.out
    one_line(user("reset-password", "nobody"), "field_invalid")


def test_the_environment_names_the_settings(
    run: Run, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINGXUN_CONFIG", str(settings))
    assert run("user", "add", "li", "--role", "officer").code == 0
    assert (settings.parent / "var" / "tingxun.sqlite3").exists()


def test_verify_of_what_is_no_archive(run: Run, settings: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", settings):
        said = run("verify", path, "--config", settings, "--json")
        assert said.code == 2
        assert said.err.startswith("tingxun: archive_unknown: ")
        assert said.out == ""


def test_verify_trusts_this_installation_or_what_it_is_told(
    run: Run, settings: Path, tmp_path: Path
) -> None:
    own, other = tmp_path / "var/certificates", tmp_path / "other"
    archive = write_session(tmp_path / "archives").seal(certificates.ensure(own)).layout.root
    make_writable(archive)
    said = run("verify", archive, "--config", settings)
    assert said.code == 0, said.out
    assert "SEALED: nothing has changed" in said.out
    said = run("verify", archive, "--json", "--trust", own / certificates.TRUSTED)
    assert said.code == 0
    assert json.loads(said.out)["sealed"]
    certificates.ensure(other)
    assert run("verify", archive, "--trust", other / certificates.TRUSTED).code == 1
    segment = archive / "data/tracks/cam-1/000002.m4s"
    segment.write_bytes(segment.read_bytes()[:-1])
    said = run("verify", archive, "--config", settings)
    assert said.code == 1
    assert "data/tracks/cam-1/000002.m4s" in said.out


def test_version_and_help(run: Run) -> None:
    assert run("version") == run("--version")
    assert run("version").out.startswith("tingxun ")
    words = run("--help").out
    for command in ("serve", "demo", "verify", "user", "version"):
        assert command in words
    assert run("no-such-command").code == 2
