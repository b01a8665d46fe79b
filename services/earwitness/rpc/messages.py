"""How requests come in: one message where one is wanted, and streams that are read out before they are answered.

Both make up for grpc.aio. As a server it never answers a caller who ends a request without its one message: taken for
one who has gone away, it waits for ever. As a client it takes a write that fails for the end of the call, so that of
the answers that come while a stream is being written, every other one is lost and reads INTERNAL.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import grpc
import grpc.aio

from earwitness.errors import InvalidArgument
from earwitness.rpc.interceptor import Codec, InterceptedHandler, ServicerContext

READ_OUT_S = 5.0
"""What a caller has to end a stream that is answered already."""


class Messages:
    """The messages of a caller's stream."""

    def __init__(self, raw: AsyncIterator[bytes], deserialize: Codec | None) -> None:
        self._raw = raw
        self._deserialize = deserialize

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Raises: what the deserialiser raises."""
        data = await anext(self._raw)
        return data if self._deserialize is None else self._deserialize(data)

    async def read_out(self) -> None:
        """Drop what is still to come, as long as the caller has to end the stream."""
        with suppress(TimeoutError):
            async with asyncio.timeout(READ_OUT_S):
                async for _ in self._raw:
                    pass


class MessagesInterceptor(grpc.aio.ServerInterceptor):
    """Outside of all others; to the wire all calls are streams. `ErrorInterceptor` reads the streams out."""

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Part of grpc's interface."""
        handler: InterceptedHandler = await continuation(handler_call_details)

        async def stream(raw: AsyncIterator[bytes], context: ServicerContext) -> Any:
            return await handler.behaviour(Messages(raw, handler.request_deserializer), context)

        async def one(messages: AsyncIterator[Any], context: ServicerContext) -> Any:
            try:
                request = await anext(messages)
            except StopAsyncIteration:  # told where errors are made into answers, as of bytes that are no message
                request = InvalidArgument("request", "no message was sent; this method takes one")
            return await handler.behaviour(request, context)

        if handler.request_streaming:
            return replace(handler, request_deserializer=None, behaviour=stream)
        return replace(handler, request_streaming=True, behaviour=one)
