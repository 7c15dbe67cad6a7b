"""Opening the port: plain and with TLS, a free one, one that is taken."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from running import Server

from rooms.errors import PortInUse
from server.app import create_app
from server.config import Config
from server.keys import RECORDS
from server.serving import listen

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -out {cert} -keyout {key}",
        shell=True,
        check=True,
        capture_output=True,
        timeout=30,
    )
    return cert, key


async def test_with_a_certificate_it_speaks_tls_alone(
    start_server: Callable[..., Awaitable[Server]], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    server = await start_server({"server.tls_cert": cert, "server.tls_key": key})
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(cert))
    client = server.client()
    async with client.http.get("/healthz", ssl=context) as response:
        assert (await response.json()) == {"status": "ok"}
    origin = {"Origin": server.url.replace("https:", "http:"), "X-Requested-With": "tingxun"}
    async with client.http.post("/api/sign-out", headers=origin, ssl=context) as response:
        assert response.status == 403
    with pytest.raises(aiohttp.ClientError):
        await client.http.get(f"{server.url.replace('https', 'http')}/healthz")


async def test_a_taken_port_is_refused_and_leaves_nothing_running(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    config = server.config
    taken = config.model_copy(
        update={
            "server": config.server.model_copy(update={"port": port}),
            "data_dir": config.data_dir / "other",
        }
    )
    app = create_app(taken)
    with pytest.raises(PortInUse, match=str(port)):
        await listen(app)
    with pytest.raises(RuntimeError, match="shutdown"):
        await app[RECORDS].places()


async def test_the_address_that_is_told_can_be_opened(
    start_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await start_server({"server.host": "0.0.0.0"})
    assert server.url.startswith("http://127.0.0.1:")
    assert (await server.client().get("/healthz"))[0] == 200


def health_check() -> list[str]:
    """The command by which the image is asked whether it is well, with this interpreter."""
    lines = (PROJECT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    (line,) = [line for line in lines if line.startswith("HEALTHCHECK")]
    command: list[str] = json.loads(line.removeprefix("HEALTHCHECK CMD"))
    assert command[0] == "python"
    return [sys.executable, *command[1:]]


async def is_well(folder: Path, **more: str) -> bool:
    """What the image's check says of the server whose settings lie in ``folder``."""
    # A proxy of the surroundings has no business on the way to ourselves.
    surroundings = {"PYTHONPATH": str(PROJECT), "http_proxy": "http://127.0.0.1:9", **more}
    check = await asyncio.create_subprocess_exec(
        *health_check(), cwd=folder, env={**os.environ, **surroundings}, stderr=subprocess.DEVNULL
    )
    code = await asyncio.wait_for(check.wait(), 30)
    # Docker keeps all others for itself.
    assert code in (0, 1)
    return code == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_the_image_knows_whether_it_is_well(
    start_server: Callable[..., Awaitable[Server]],
    certificate: tuple[Path, Path],
    tmp_path: Path,
    tls: bool,
) -> None:
    pair = dict(zip(("tls_cert", "tls_key"), map(str, certificate), strict=True)) if tls else {}
    server = await start_server({f"server.{key}": value for key, value in pair.items()})
    assert server.url.startswith("https:") is tls
    port = int(server.url.rsplit(":", 1)[1])
    settings = tmp_path / "config.yaml"
    settings.write_text(json.dumps({"server": {"port": port, **pair}}))
    assert await is_well(tmp_path)
    other = tmp_path / "other.yaml"
    settings.rename(other)
    assert await is_well(tmp_path, TINGXUN_CONFIG=str(other))
    # Port 1 answers nobody.
    settings.write_text(json.dumps({"server": {"port": 1, **pair}}))
    assert not await is_well(tmp_path)


async def test_start_and_stop_leave_no_task_behind(config: Config) -> None:
    runner, _ = await listen(create_app(config))
    assert isinstance(runner, web.AppRunner)
    await runner.cleanup()
    await runner.cleanup()
