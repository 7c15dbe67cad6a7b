"""The settings: what each key is, its default and its limits.

``config.yaml`` in the top folder shows every key with its default; a test keeps the two in step.
Before this: a YAML file and the command line's overrides. After it: a frozen :class:`Config` with
absolute paths, passed to whoever needs it. Anything that is not understood raises
:class:`rooms.errors.ConfigInvalid` with the key's name: a setting that is misspelt never passes
unnoticed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from rooms.errors import ConfigInvalid

Port = Annotated[int, Field(ge=0, le=65535)]


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


Address = Annotated[str, AfterValidator(_address)]

_ICE_URL = (
    r"^(stuns?:[^\s?@/,;<>\"]+"  # RFC 7064
    r"|turns?:[^\s?@/,;<>\"]+(\?transport=(udp|tcp))?)$"  # RFC 7065
)


class Section(BaseModel):
    """One group of keys: unknown keys are refused, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ServerSection(Section):
    """Where the HTTP and WebSocket server listens, and what it takes from a client."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_origin: str | None = Field(None, pattern=r"^https?://[^/\s]+$")
    host_names: tuple[str, ...] = ()
    media_origins: tuple[Annotated[str, Field(pattern=r"^https?://[^/\s]+$")], ...] = ()
    max_body_bytes: int = Field(65536, ge=1024, le=1 << 26)
    burst: int = Field(240, ge=1)
    rate_per_s: float = Field(80.0, gt=0)
    metrics_behind_proxy: bool = False

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are given together or not at all")
        return self


class MediaSection(Section):
    """Addresses, ports, codecs and limits of the WebRTC side."""

    bind_address: Address | Annotated[tuple[Address, ...], Field(min_length=1)] = "127.0.0.1"
    announced_address: Address | tuple[Address, ...] | None = None
    port_min: Port = 0
    port_max: Port = 0
    codecs: tuple[Literal["H264", "VP8"], ...] = Field(("H264", "VP8"), min_length=1)
    video_max_kbps: int = Field(2500, ge=100, le=50_000)
    simulcast: bool = True
    max_tracks_per_participant: int = Field(6, ge=1, le=32)
    processes: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = "auto"

    @property
    def process_count(self) -> int:
        """How many media processes there may be; 0: sessions are held by the server itself."""
        return len(os.sched_getaffinity(0)) if self.processes == "auto" else self.processes

    @model_validator(mode="after")
    def _range(self) -> Self:
        if (self.port_min == 0) != (self.port_max == 0) or self.port_min > self.port_max:
            raise ValueError("port_min to port_max is a range, or both are 0")
        return self


class TurnSection(Section):
    """Relays for lines on which media does not get through directly; see :mod:`server.turn`."""

    urls: tuple[Annotated[str, Field(pattern=_ICE_URL)], ...] = ()
    secret: str | None = Field(None, min_length=16)
    secret_file: Path | None = None
    ttl_s: int = Field(3600, ge=60, le=7 * 86_400)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = (self.secret is not None) + (self.secret_file is not None)
        if given > 1:
            raise ValueError("secret or secret_file is given, not both")
        if given != any(url.startswith("turn") for url in self.urls):
            raise ValueError("a turn: or turns: address needs a secret, and a secret needs one")
        return self


class RecordingSection(Section):
    """Where archives are written and how the recorder cuts, waits and is watched."""

    archive_dir: Path | None = None
    segment_ms: int = Field(4000, ge=1000, le=60_000)
    chunk_ms: int = Field(500, ge=100, le=5000)
    repair_wait_ms: int = Field(2000, ge=0, le=30_000)
    tap_buffer_mib: int = Field(256, ge=8, le=65_536)
    start_timeout_ms: int = Field(8000, ge=500)
    stall_ms: int = Field(3000, ge=500)
    drain_ms: int = Field(300, ge=0, le=10_000)
    reserve_mib: int = Field(512, ge=0)


class SignallingSection(Section):
    """Limits of one signalling connection."""

    max_message_bytes: int = Field(65_536, ge=4096, le=1 << 24)
    burst: int = Field(40, ge=1)
    rate_per_s: float = Field(20.0, gt=0)
    hello_timeout_s: float = Field(10.0, gt=0)
    reconnect_grace_s: float = Field(300.0, ge=0)
    takeover_s: float = Field(300.0, ge=0)


class AccountsSection(Section):
    """Passwords, sign-in and tokens."""

    password_min_length: int = Field(12, ge=8, le=256)
    argon2_time_cost: int = Field(3, ge=1, le=20)
    argon2_memory_kib: int = Field(65_536, ge=8, le=1 << 22)
    argon2_parallelism: int = Field(2, ge=1, le=64)
    token_hours: float = Field(12.0, gt=0)
    ticket_s: float = Field(120.0, gt=0)
    failures_per_name: int = Field(5, ge=1)
    failures_per_address: int = Field(20, ge=1)
    lockout_s: float = Field(300.0, gt=0)


class SealSection(Section):
    """Keys of the seal and the time-stamp authority; without any, the platform makes its own."""

    cert: Path | None = None
    key: Path | None = None
    chain: Path | None = None
    tsa_cert: Path | None = None
    tsa_key: Path | None = None
    tsa_url: str | None = Field(None, pattern=r"^https?://\S+$")
    tsa_roots: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len({self.cert is None, self.key is None, self.chain is None}) > 1:
            raise ValueError("cert, key and chain are given together or not at all")
        if (self.tsa_cert is None) != (self.tsa_key is None):
            raise ValueError("tsa_cert and tsa_key are given together or not at all")
        return self


class LogSection(Section):
    """What the server writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = Field(False, alias="json")


class Config(Section):
    """All settings; every path in it is absolute once loaded."""

    server: ServerSection = ServerSection()
    data_dir: Path = Path("var")
    media: MediaSection = MediaSection()
    turn: TurnSection = TurnSection()
    recording: RecordingSection = RecordingSection()
    signalling: SignallingSection = SignallingSection()
    accounts: AccountsSection = AccountsSection()
    seal: SealSection = SealSection()
    log: LogSection = LogSection()

    @property
    def archive_dir(self) -> Path:
        """The folder that holds archives, sealed and in progress."""
        return self.recording.archive_dir or self.data_dir / "archives"

    @property
    def database_path(self) -> Path:
        """The SQLite file of :class:`server.records.Records`."""
        return self.data_dir / "tingxun.sqlite3"

    @property
    def run_dir(self) -> Path:
        """What the running processes share: sockets and locks. Nothing in it outlives them."""
        return self.data_dir / "run"

    @property
    def claims_dir(self) -> Path:
        """Which process holds which session; see :mod:`server.claims`."""
        return self.run_dir / "sessions"

    @property
    def certificates_dir(self) -> Path:
        """Where the keys made at first start lie."""
        return self.data_dir / "certificates"

    @property
    def tls(self) -> bool:
        """Whether this process itself speaks TLS."""
        return self.server.tls_cert is not None

    @property
    def secure(self) -> bool:
        """Whether browsers reach the server by https, directly or through a proxy."""
        return self.tls or (self.server.public_origin or "").startswith("https:")

    @classmethod
    def load(cls, path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
        """Read ``path`` and lay ``overrides`` over it.

        ``overrides`` maps dotted keys (``"server.port"``) to values; ``None`` means not given.
        Relative paths in the file are relative to its folder, those in ``overrides`` to the
        working directory. Without ``path`` the defaults hold, relative to the working directory.
        Raises :class:`~rooms.errors.ConfigInvalid`.
        """
        tree = {} if path is None else _read(path)
        base = Path.cwd() if path is None else path.resolve().parent
        tree.setdefault("data_dir", cls.model_fields["data_dir"].default)
        config = _validated(cls, _absolute_tree(tree, base))
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        if given:
            tree = config.model_dump(by_alias=True)
            for key, value in given.items():
                _set(tree, key, value)
            config = _validated(cls, _absolute_tree(tree, Path.cwd()))
        return config


def _path_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _path_keys(kind, f"{prefix}{name}.")
        elif kind is Path or kind == (Path | None):
            yield prefix + name


def _absolute_tree(tree: dict[str, Any], base: Path) -> dict[str, Any]:
    for key in _path_keys(Config):
        *sections, name = key.split(".")
        place: Any = tree
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if isinstance(place, dict) and isinstance(place.get(name), str | Path):
            place[name] = base / Path(place[name]).expanduser()
    return tree


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        tree = tree[section]
    tree[name] = value


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: {' '.join(str(error).split())}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigInvalid(f"{path}: the file is not a mapping of keys to values")
    return tree


def _validated(cls: type[Config], tree: dict[str, Any]) -> Config:
    try:
        return cls.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "config"
        raise ConfigInvalid(f"{key}: {first['msg']}") from error
