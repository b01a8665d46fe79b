"""What a call knows about itself: its request id, the time it has left, and its line in the log."""

import logging
import re
from contextvars import ContextVar
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from earwitness import __version__
from earwitness.rpc.auth import caller_name
from earwitness.rpc.interceptor import CallInterceptor, Method, Proceed, ServicerContext, final_code

REQUEST_ID_KEY = "x-request-id"
VERSION_KEY = "x-earwitness-version"
TIME_KEY = "x-server-time"
"""Seconds since 1970 when the call was over, by the server's clock."""
RETURN_MARGIN_S = 0.1
"""Kept of a caller's time for the answer's way back."""
_ACCEPTED_ID = re.compile(r"[!-~]{1,128}")
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_logger = logging.getLogger(__name__)


def request_id() -> str:
    """Id of the call that this code runs for; empty outside of calls. Tasks started by a call inherit it."""
    return _request_id.get()


def time_remaining_s(context: ServicerContext) -> float | None:
    """Seconds to the caller's deadline, at least 0; None when the caller set none."""
    remaining: float | None = context.time_remaining()
    return remaining


class RequestInterceptor(CallInterceptor):
    """Outermost. Takes the caller's `x-request-id` or makes one, returns it in the trailing metadata, logs the call.

    A call that was answered learns the server's version and time there too; one that was refused does not.

    Trailing and not initial metadata: a client's retry policy ends when initial metadata arrive.
    """

    async def around(self, method: Method, request: Any, context: ServicerContext, proceed: Proceed) -> Any:
        """Raises what the call raises."""
        given = next((value for key, value in context.invocation_metadata() or () if key == REQUEST_ID_KEY), "")
        name = given if isinstance(given, str) and _ACCEPTED_ID.fullmatch(given) else str(uuid4())
        _request_id.set(name)
        context.set_trailing_metadata(((REQUEST_ID_KEY, name),))
        start = perf_counter()
        error: BaseException | None = None
        try:
            answer = await proceed()
            context.set_trailing_metadata(
                ((REQUEST_ID_KEY, name), (VERSION_KEY, __version__), (TIME_KEY, f"{time():.6f}"))
            )
            return answer
        except BaseException as err:
            error = err
            raise
        finally:
            _logger.log(
                logging.DEBUG if method.is_plumbing else logging.INFO,
                "%s %s by %s in %.1f ms",
                method.path,
                final_code(context, error).name,
                caller_name(),
                (perf_counter() - start) * 1e3,
            )
