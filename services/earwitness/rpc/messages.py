"""How requests come in: calls are judged by their headers; their messages are read by what lets them in, if anything.

To the wire every method is a stream, which grpc.aio hands over before it has read anything. Of a method with one
request message it would await that first, whoever calls and however long it takes, and never answer a caller who ends
the request without one. `MessagesInterceptor` is outside of all others, `ReceivingInterceptor` inside of them.

As a client grpc.aio takes a write that fails for the end of the call, so that of the answers that come while a stream
is being written, every other one is lost and reads INTERNAL. So streams are read out before they are answered.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import grpc
import grpc.aio

from earwitness.errors import InvalidArgument
from earwitness.rpc.inbox import Inbox, MessageLate, TooManyMessages
from earwitness.rpc.interceptor import Codec, InterceptedHandler, ServicerContext, intercepted

READ_OUT_S = 5.0
"""What a caller has to end a stream that is answered already."""


class Messages:
    """The messages of a call. Only the first has a time limit here: who reads on knows what to expect."""

    def __init__(self, raw: AsyncIterator[bytes], deserialize: Codec | None, inbox: Inbox, peer: str) -> None:
        self._raw = raw
        self._peer = peer
        self._deserialize = deserialize
        self._inbox = inbox
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Raises: MessageLate, TooManyMessages for the first; what the deserialiser raises."""
        if self._begun:
            data = await anext(self._raw)
        else:
            self._begun = True
            data = await self._inbox.receive(self._raw.__anext__, self._peer)
        return data if self._deserialize is None else self._deserialize(data)

    async def one(self) -> Any:
        """The one message of a method that takes one. Raises: as `__anext__`; InvalidArgument where there is none."""
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise InvalidArgument("request", "no message was sent; this method takes one") from None

    async def read_out(self) -> None:
        """Drop what is still to come, as long as the caller has to end the stream and the inbox has room."""
        with suppress(TimeoutError, StopAsyncIteration, MessageLate, TooManyMessages):
            async with asyncio.timeout(READ_OUT_S):
                while True:
                    await self._inbox.receive(self._raw.__anext__, self._peer)


class MessagesInterceptor(grpc.aio.ServerInterceptor):
    """Hands `Messages` to all kinds of methods, at once; `ErrorInterceptor` reads streams out."""

    def __init__(self, inbox: Inbox, gone: Callable[[str], bool]) -> None:
        """`gone` says whether a peer, as gRPC writes it, has disconnected."""
        self._inbox = inbox
        self._gone = gone
        self._handlers: dict[str, InterceptedHandler] = {}
        """Of the methods served: what the interceptors make of one is the same for each call."""

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Part of grpc's interface."""
        path = handler_call_details.method
        if path not in self._handlers:
            handler = self._reading(await continuation(handler_call_details))
            if not handler.method.is_served:
                return handler
            self._handlers[path] = handler
        return self._handlers[path]

    def _reading(self, handler: InterceptedHandler) -> InterceptedHandler:
        async def stream(raw: AsyncIterator[bytes], context: ServicerContext) -> Any:
            peer = str(context.peer())
            if self._gone(peer):
                raise asyncio.CancelledError
            return await handler.behaviour(Messages(raw, handler.request_deserializer, self._inbox, peer), context)

        return replace(handler, request_streaming=True, request_deserializer=None, behaviour=stream)


class ReceivingInterceptor(grpc.aio.ServerInterceptor):
    """Reads the message of a method that takes one, once all others have let the call in."""

    async def intercept_service(self, continuation: Any, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Part of grpc's interface."""
        handler = intercepted(handler_call_details.method, await continuation(handler_call_details))
        if handler.request_streaming:
            return handler

        async def behaviour(messages: Messages, context: ServicerContext) -> Any:
            return await handler.behaviour(await messages.one(), context)

        return replace(handler, behaviour=behaviour)
