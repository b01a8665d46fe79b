"""Logging of a service: text or JSON lines on standard error, each with the request id of its call.

Where calls are traced, JSON lines have `trace_id` and `span_id` too.
"""

import logging
from typing import Literal

import grpc.aio
from pythonjsonlogger.json import JsonFormatter

from earwitness import tracing
from earwitness.rpc.context import request_id

_TEXT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
_JSON = "%(levelname)s %(name)s %(request_id)s %(message)s"


def setup_logging(log_format: Literal["text", "json"] = "text", level: str = "INFO") -> None:
    """Send the root logger to standard error, replacing its handlers."""
    handler = logging.StreamHandler()
    handler.addFilter(_add_ids)
    handler.setFormatter(
        JsonFormatter(_JSON, rename_fields={"levelname": "level", "name": "logger"}, timestamp=True)
        if log_format == "json"
        else logging.Formatter(_TEXT)
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)


def leave_out_late_answers() -> None:
    """Keep gRPC from logging a traceback for each answer that its caller's deadline was a moment ahead of."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_late_answer)


def _is_no_late_answer(record: logging.LogRecord) -> bool:
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, grpc.aio.InternalError)


def _add_ids(record: logging.LogRecord) -> bool:
    record.request_id = request_id() or "-"
    if traced := tracing.ids():
        record.trace_id, record.span_id = traced
    return True
