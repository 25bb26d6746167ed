"""Set up structured logging, as JSON or for a console.

Promises that no token, secret or password leaves in it, whether it came under a telling name or inside
some text, and that a traceback never shows local variables. Other libraries' records (aiohttp, engine.io)
come out through the same renderer from WARNING on. It holds no state of its own and writes no file.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from marketstream.observability.log_writer import LogWriter
from marketstream.observability.text import MASK, mask, printable

Renderer = Literal["auto", "json", "console"]

_DEEPEST = 4  # nesting that is searched; what lies deeper is not worth logging
_NAMES = re.compile(r"(?:token|secret|password|authorization|cookie|api_?key)$", re.IGNORECASE)
_LINES = "\n\t"  # what a traceback is made of


def configure(level: str = "info", renderer: Renderer = "auto") -> None:
    """Set the log of this process up; called once, before anything is logged.

    Args:
        level: Weakest level that is written: debug, info, warning, error or critical.
        renderer: json or console; auto is console when stderr is a terminal, json otherwise.
    """
    if renderer == "auto":
        renderer = "console" if sys.stderr.isatty() else "json"
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _mask_names,
    ]
    if renderer == "console":
        # JSON escapes them by itself.
        shared.append(_show_controls)
    structlog.configure(
        processors=[*shared, _masked(_render(renderer))],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        # Not cached on first use: a logger made before this call would keep the old set-up for ever.
        cache_logger_on_first_use=False,
    )
    _route_stdlib(shared, renderer, max(threshold, logging.WARNING))
    # Our own handlers' failures are logged where they are answered. What is left is whatever scanners send
    # that is no HTTP: answered with 400, and no error of this server.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    if isinstance(sys.stderr, LogWriter):
        sys.stderr.on_recovery = _tell_dropped


def _tell_dropped(lines: int) -> None:
    structlog.get_logger(__name__).warning("log_recovered", dropped=lines)


def _render(renderer: Renderer) -> Processor:
    if renderer == "json":
        return structlog.processors.JSONRenderer(default=repr)
    # The default exception formatter prints local variables when rich is installed; this one cannot.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _masked(render: Processor) -> Processor:
    """Return the net below the names: whatever was rendered is searched once more as text."""

    def masked(logger: WrappedLogger, method: str, event: EventDict) -> str:
        name = event.get("event")
        try:
            return mask(str(render(logger, method, event)))
        except Exception as error:  # noqa: BLE001 - a value whose repr fails must not end who logs it
            lost = {"event": "log_entry_unreadable", "of": mask(repr(name)), "error": type(error).__name__}
            return json.dumps(lost)

    return masked


def _mask_names(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: _hide(key, value, _DEEPEST) for key, value in event.items()}


def _show_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        key: printable(value, _LINES if key in ("exception", "stack") else "")
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _hide(key: object, value: object, depth: int) -> object:
    if isinstance(key, str) and value is not None and _NAMES.search(key):
        return MASK
    if isinstance(value, str):
        # Here, where a text is whole: in the rendered line its quotes are escaped.
        return mask(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == 0:
        return MASK
    if isinstance(value, Mapping):
        return {name: _hide(name, inner, depth - 1) for name, inner in value.items()}
    return [_hide(None, inner, depth - 1) for inner in value]


def _route_stdlib(shared: list[Processor], renderer: Renderer, threshold: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _masked(_render(renderer)),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
