"""Starting the server as it is configured."""

from __future__ import annotations

from rooms.errors.root import TingxunError


class StartError(TingxunError, status=500, fault="operator"):
    """The server cannot start as it is configured."""


class ConfigInvalid(
    StartError, code="config_invalid", hint="Compare the file with config.yaml of the release."
):
    """The configuration is not valid."""


class DataDirUnwritable(
    StartError,
    code="data_dir_unwritable",
    hint="Give the server the right to write to data_dir, or set another one.",
):
    """The folder for the database and the keys cannot be written."""


class MediaPortUnavailable(
    StartError,
    code="media_port_unavailable",
    hint="Set media.bind_address to an address of this machine, and a range with a free UDP port.",
):
    """No UDP port for media can be opened."""


class PortInUse(StartError, code="port_in_use", hint="Stop the other program or set server.port."):
    """Another program uses the port."""
