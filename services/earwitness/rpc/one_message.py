"""`OneMessageInterceptor`: a call that ought to bring one message and brings none is answered."""

from dataclasses import replace
from typing import Any

import grpc
import grpc.aio

from earwitness.errors import InvalidArgument
from earwitness.rpc.interceptor import InterceptedHandler, ServicerContext


class OneMessageInterceptor(grpc.aio.ServerInterceptor):
    """Outside of all others. To the wire all calls are streams: here the one message of a unary request is read.

    grpc.aio itself never answers a caller who ends such a stream without a message: taken for one who has gone away,
    it waits for ever where it set no deadline.
    """

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Part of grpc's interface."""
        handler: InterceptedHandler = await continuation(handler_call_details)
        if handler.request_streaming:
            return handler

        async def behaviour(messages: Any, context: ServicerContext) -> Any:
            try:
                request = await anext(messages)
            except StopAsyncIteration:  # told where errors are made into answers, as of bytes that are no message
                request = InvalidArgument("request", "no message was sent; this method takes one")
            return await handler.behaviour(request, context)

        return replace(handler, request_streaming=True, behaviour=behaviour)
