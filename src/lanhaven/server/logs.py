"""The server's log: one line per fact, on stderr and in a bounded file; text on a terminal, JSON elsewhere.

Fields are cut and escaped, and anything that looks like a key is masked, whoever put it there (F-175, F-186).
"""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import Processor

from lanhaven.events import (
    CatalogChanged,
    Failure,
    GatewayEvent,
    InferenceComplete,
    InferenceStart,
    ModelLoadComplete,
    ModelUnloadComplete,
)

LONGEST = 512
FILES, FILE_BYTES = 5, 10 << 20
SECRET = re.compile(r"(?i)\b(sk-[a-z0-9_:-]{8,}|bearer\s+\S+|basic\s+\S+)")
CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # a line of the log is a line

Fields = MutableMapping[str, Any]


def configure(level: str, form: str, state_dir: Path | None = None) -> None:
    """Set logging up for the process. `form` of stderr: auto, json, text. With `state_dir`, logs/server.log as well.

    What libraries log by way of the standard library is cleaned and written in the same form.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    handlers[0].setFormatter(_formatter(_renderer(form)))
    if state_dir is not None:
        handlers.append(_file(state_dir / "logs"))
    logging.basicConfig(level=number, handlers=handlers, force=True)
    for noisy in ("uvicorn", "uvicorn.error", "asyncio"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*_chain(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def leave_stderr() -> None:
    """The file alone from now on, if there is one: nobody bounds what a server without a terminal writes to stderr."""
    root = logging.getLogger()
    if any(isinstance(each, LogFile) for each in root.handlers):
        for each in [each for each in root.handlers if type(each) is logging.StreamHandler]:
            root.removeHandler(each)


def _chain() -> tuple[Processor, ...]:
    """What is done to each entry, whoever made it."""
    return (
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        clean,
    )


def _formatter(renderer: Processor) -> logging.Formatter:
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_chain(), processors=last)


def ring_formatter() -> logging.Formatter:
    """Time, level and text, with a blank between them: for lines that are shown in columns."""
    return _formatter(_columns)


def _columns(logger: Any, method: str, fields: Fields) -> str:
    time, level, event = (fields.pop(name, "-") for name in ("timestamp", "level", "event"))
    exception = fields.pop("exception", None)
    values = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    return f"{time} {level} {event} {values}".rstrip() + (f"\n{exception}" if exception else "")


def _renderer(form: str) -> Processor:
    if form == "text" or (form == "auto" and sys.stderr.isatty()):
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer()


def _file(folder: Path) -> logging.Handler:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = LogFile(folder / "server.log", maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8")
    except OSError as error:
        logging.getLogger(__name__).warning("no log file: %s", error)
        return logging.NullHandler()
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer()))
    return handler


class LogFile(logging.handlers.RotatingFileHandler):
    """A log file whose disk may be full: what cannot be written is lost, which is told once, on stderr (F-173)."""

    told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is the library's
        """Instead of a traceback for each entry."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.told:
            self.told = True
            logging.getLogger(__name__).warning("the log file cannot be written: %s", error.strerror)


def clean(logger: Any, method: str, fields: Fields) -> Fields:
    """Cut long values, escape control characters, mask keys."""
    for name, value in fields.items():
        if isinstance(value, str):
            limit = 16 * LONGEST if name == "exception" else LONGEST
            text = SECRET.sub("[masked]", value[:limit])
            fields[name] = text if name == "exception" else CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
    return fields


def log_requests(event: GatewayEvent) -> None:
    """A listener of the bus for the level debug (S1-43): when requests come and how long they take."""
    match event:
        case InferenceStart():
            structlog.get_logger().debug(
                "request", request_id=event.request_id, path=event.path, model=event.model, client=event.client
            )
        case InferenceComplete():
            structlog.get_logger().debug(
                "answered",
                request_id=event.request_id,
                model=event.model_key,
                instance=event.instance_id,
                streamed=event.streamed,
                queue_ms=round(event.queue_seconds * 1000),
                first_byte_ms=round(event.first_byte_seconds * 1000),
                total_ms=round(event.seconds * 1000),
            )
        case Failure() if event.request_id is not None:
            structlog.get_logger().debug(
                "not_answered", request_id=event.request_id, code=event.code, total_ms=round(event.seconds * 1000)
            )
        case _:
            pass


# Not what every request brings: /debug/events tells that, and the level debug.
LOGGED = (ModelLoadComplete, ModelUnloadComplete, CatalogChanged, Failure)


def log_events(event: GatewayEvent) -> None:
    """A listener of the bus: loads, unloads and failures, without what was asked or answered."""
    match event:
        case ModelLoadComplete():
            structlog.get_logger().info(
                "model_loaded", model=event.model_key, instance=event.instance_id, seconds=round(event.seconds, 2)
            )
        case ModelUnloadComplete():
            structlog.get_logger().info(
                "model_unloaded", model=event.model_key, instance=event.instance_id, reason=event.reason
            )
        case CatalogChanged():
            structlog.get_logger().info(
                "models_changed",
                added=list(event.added),
                removed=list(event.removed),
                changed=list(event.changed),
            )
        case Failure(operation="reload"):
            structlog.get_logger().error("reload_failed", error=event.error)
        case Failure() if not event.cancelled and event.status >= 500:
            structlog.get_logger().warning(
                "failed",
                operation=event.operation,
                code=event.code,
                error=event.error,
                model=event.model_key,
                request_id=event.request_id,
            )
        case _:
            pass
