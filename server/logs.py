"""How the server writes its log: to standard error, as text or as one JSON object a line."""

from __future__ import annotations

import logging
import sys

import structlog

from server.config import LogSection


def configure(config: LogSection) -> None:
    """Send what every module logs to standard error, in the form and from the level configured."""
    stamps: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor
    if config.json_lines:
        stamps.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    output = logging.StreamHandler()
    output.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=stamps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(config.level.upper())
    # Libraries' own chatter is for their authors; problems of theirs still show.
    for noisy in ("aioice", "aiortc", "asyncio"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))
