"""The log: structlog to stderr, one line an event, for a person or as JSON. Secrets never reach it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from reconcile.config.values import MASK
from reconcile.human import visible

log = structlog.get_logger("driver")
LEVELS = ("debug", "info", "warning", "error")
SECRETIVE = re.compile(r"password|secret|passphrase|token|credential|authorization", re.IGNORECASE)
IN_URL = re.compile(r"(?<=://)([^\s:/@]*):([^\s/@]+)@")
IN_WORDS = re.compile(r"\b(password|passfile|sslpassword)=('[^']*'|\S+)", re.IGNORECASE)


def configure(level: str, form: str, stream: TextIO | None = None, *, colours: bool = False) -> None:
    """Send the log to stderr or another stream, from a level up, as `console` or `json`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            without_secrets,
            *_rendering(form, colours=colours),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _rendering(form: str, *, colours: bool) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer(serializer=_encode)]
    return [harmless, structlog.dev.ConsoleRenderer(colors=colours, timestamp_key="at", sort_keys=False)]


def _encode(event: Mapping[str, Any], **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


class HandedOn(logging.Handler):
    """Has what a driver tells the standard library's log come into ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one line on, under its level."""
        try:
            log.bind(driver=self.name).log(record.levelno, "driver.told", what=record.getMessage())
        except Exception:  # noqa: BLE001 - an exception within a driver may cost more than a line
            self.handleError(record)


def handed_on(driver: str) -> logging.Logger:
    """Return what a driver may log to; it is the log's own level that leaves lines out."""
    logger = logging.getLogger(f"storage-reconciler.{driver}")
    if not logger.handlers:
        handler = HandedOn()
        handler.name = driver
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    return logger


def without_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what is named like a secret, and passwords within connection strings."""
    return {name: MASK if is_secretive(name) else masked(value) for name, value in event.items()}


@cache
def is_secretive(name: str) -> bool:
    """Tell whether a field is named like a secret; the names are those that the code gives."""
    return SECRETIVE.search(name) is not None


def masked(value: Any) -> Any:
    """Return a value whose passwords in URLs and key=value strings are masked.

    Hardly any value holds what these need; a mass of deletions is a line each, and patterns were half of its cost.
    """
    if not isinstance(value, str):
        return value
    if "@" in value:
        value = IN_URL.sub(rf"\1:{MASK}@", value)
    return IN_WORDS.sub(rf"\1={MASK}", value) if "=" in value else value


def harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Spell out what a terminal would obey; a traceback keeps its lines."""
    return {name: _shown(name, value) for name, value in event.items()}


def _shown(name: str, value: Any) -> Any:
    if name == "exception" or not isinstance(value, str):
        return value
    return visible(value)
