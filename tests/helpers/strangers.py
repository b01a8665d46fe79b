"""HTTP/2 by hand: what no gRPC client does to a server, such as messages half sent, calls of headers alone, silence.

Only what the tests of the servers' doors need (RFC 9113, RFC 7541 without its compression), and only on loopback.
"""

import asyncio
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Self

HOST = "127.0.0.1"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
ACK, END_HEADERS, END_STREAM = 1, 4, 1
FRAME_BYTES = 16_384
FIRST_WINDOW_BYTES = 65_535


class Stranger:
    """One connection, and what the server did to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.max_streams: int | None = None
        """What the server allows, once it said so."""
        self.begun = 0
        """Calls made."""
        self.ended: set[int] = set()
        """Streams that the server has answered to the end, or reset."""
        self.answered = 0
        """Messages and headers that came back."""
        self.closed = asyncio.Event()
        """Set when the server closed the connection."""
        self._reader = reader
        self._settled = asyncio.Event()
        self._room = asyncio.Condition()
        self._window = FIRST_WINDOW_BYTES
        self._windows: dict[int, int] = {}
        self._next = 1
        self._reading = asyncio.create_task(self._read())
        self._silent = True

    @classmethod
    async def open(cls, port: int, *, preface: bool = True, settle_s: float = 30.0) -> Self:
        """Connected, and greeted unless `preface` is false. Raises: OSError, TimeoutError, ConnectionError."""
        stranger = cls(*await asyncio.open_connection(HOST, port))
        if preface:
            stranger._silent = False
            stranger.writer.write(PREFACE + _frame(SETTINGS, 0, 0, b""))
            settled = asyncio.create_task(stranger._settled.wait())
            closed = asyncio.create_task(stranger.closed.wait())
            await asyncio.wait({settled, closed}, timeout=settle_s, return_when=asyncio.FIRST_COMPLETED)
            for each in (settled, closed):
                each.cancel()
            if not stranger._settled.is_set():
                await stranger.close()
                raise ConnectionError("the server did not greet")
        return stranger

    def call(self, path: str, headers: Sequence[tuple[str, str]] = ()) -> int:
        """Begin a call by its headers alone; returns its stream."""
        stream, self._next, self.begun = self._next, self._next + 2, self.begun + 1
        self._windows[stream] = FIRST_WINDOW_BYTES
        block = b"\x83\x86" + b"".join(
            _header(name, value)
            for name, value in (
                (":path", path), (":authority", HOST), ("content-type", "application/grpc"), ("te", "trailers"),
                *headers,
            )
        )  # fmt: skip
        self.writer.write(_frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def whole(self, stream: int, message: bytes) -> None:
        """Send a small message, and the end of the request."""
        self.writer.write(_frame(DATA, END_STREAM, stream, struct.pack(">BI", 0, len(message)) + message))

    async def half(self, stream: int, announced_bytes: int, sent_bytes: int) -> None:
        """Announce a message and send the beginning of it, as far as the server's windows allow."""
        data = struct.pack(">BI", 0, announced_bytes) + bytes(sent_bytes)
        sent = 0
        while sent < len(data) and stream not in self.ended and not self.closed.is_set():
            async with self._room:
                while (room := min(self._window, self._windows.get(stream, 0))) <= 0:
                    if stream in self.ended or self.closed.is_set():
                        return
                    await self._room.wait()
            part = data[sent : sent + min(room, FRAME_BYTES)]
            self.writer.write(_frame(DATA, 0, stream, part))
            sent += len(part)
            self._window -= len(part)
            if stream in self._windows:
                self._windows[stream] -= len(part)
            with suppress(ConnectionError):
                await self.writer.drain()

    async def close(self) -> None:
        """Gone, without a word."""
        self._reading.cancel()
        self.writer.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                length = int.from_bytes(head[:3], "big")
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF
                await self._take(kind, flags, stream, await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed.set()
            await self._wake()

    async def _take(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if self._silent:
            return
        if kind == SETTINGS and not flags & ACK:
            for name, value in _settings(body):
                if name == 3:
                    self.max_streams = value
            self.writer.write(_frame(SETTINGS, ACK, 0, b""))
            self._settled.set()
        elif kind == PING and not flags & ACK:
            self.writer.write(_frame(PING, ACK, 0, body))
        elif kind == WINDOW:
            more = int.from_bytes(body, "big")
            if stream == 0:
                self._window += more
            elif stream in self._windows:
                self._windows[stream] += more
            await self._wake()
        elif kind in (HEADERS, DATA, RESET):
            self.answered += kind != RESET
            if kind == RESET or flags & END_STREAM:
                self.ended.add(stream)
                self._windows.pop(stream, None)
                await self._wake()

    async def _wake(self) -> None:
        async with self._room:
            self._room.notify_all()


def _settings(body: bytes) -> Iterator[tuple[int, int]]:
    yield from struct.iter_unpack(">HI", body)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def _header(name: str, value: str) -> bytes:
    """A literal that is not indexed, its name spelt out."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    assert len(data) < 127, "longer ones take more than one byte of length"
    return bytes([len(data)]) + data
