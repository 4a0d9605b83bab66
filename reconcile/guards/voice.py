"""Lets what is logged here reach an application that knows nothing of structlog, by Python's own logging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger


def speak() -> None:
    """Hand events to Python's logging, unless the application has configured structlog, which then goes first."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, as_record],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def as_record(_: WrappedLogger, __: str, event: EventDict) -> tuple[tuple[str], Mapping[str, Any]]:
    """Return what a logger is called with: the event and its facts as text, and the facts beside it as `facts`."""
    name, exc_info = event.pop("event"), event.pop("exc_info", None)
    text = " ".join([str(name), *(f"{key}={value!r}" for key, value in event.items())])
    return (text.replace("%", "%%"),), {"exc_info": exc_info, "extra": {"facts": dict(event)}}
