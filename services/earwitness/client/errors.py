"""Failures of calls: gRPC's exceptions become `RpcFailure`, or the class of `refusals` for the server's reason."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from earwitness.client.refusals import BY_REASON
from earwitness.rpc.errors import RpcFailure, error_from_rpc
from earwitness.rpc.proxies import told

__all__ = ["RpcFailure", "answer_lost", "failures", "malformed"]
TOO_LARGE = "message larger than max"
"""gRPC's own words for a message over the limit of either side."""
_LOST = "Internal error from Core"


@contextmanager
def failures(target: str) -> Iterator[None]:
    """Raise `RpcFailure` for a failed call to `target`; a cancelled task stays a cancelled task.

    Raises: RpcFailure.
    """
    try:
        yield
    except grpc.RpcError as err:
        failure = error_from_rpc(err, BY_REASON)
        if failure.code is grpc.StatusCode.UNAVAILABLE and not failure.reason:
            failure.message = f"{target} cannot be reached ({failure.message.rsplit(': ', 1)[-1]}){told(target)}"
        elif failure.code is grpc.StatusCode.DEADLINE_EXCEEDED and not failure.reason:
            failure.message += told(target)
        if failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED and not failure.reason and TOO_LARGE in failure.message:
            failure.message += "; no other try makes it fit: ask for less at once"
        raise failure from err


def answer_lost(failure: RpcFailure) -> bool:
    """True where the server's answer to a stream of ours was lost on our side.

    grpc.aio does so when an answer comes before the last message: a write fails, and the status after it is not read
    any more. Our servers wait some seconds for the rest of the stream. A server's own INTERNAL has a reason.
    """
    return failure.code is grpc.StatusCode.INTERNAL and not failure.reason and failure.message == _LOST


def malformed(target: str, description: str) -> RpcFailure:
    """The failure of a server whose answer does not fit its contract."""
    return RpcFailure(grpc.StatusCode.INTERNAL, f"{target}: {description}")
