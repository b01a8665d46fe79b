"""`MetricsServer`: the port that shows the metrics. One thread, however many connect, and none of them for long.

prometheus_client's own server is not used: it gives each connection a thread and lets it be silent for ever.
"""

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

MAX_REQUEST_BYTES = 16 * 1024
REQUEST_S = 5.0
"""What a scraper has to send its request, and as long again to take the answer."""
MAX_CONNECTIONS = 32
"""Of those that have not asked anything yet, the one that has waited longest goes when one more comes."""
_logger = logging.getLogger(__name__)


class MetricsServer:
    """Shows a registry over HTTP in a thread of its own, until closed. One request a connection, GET or HEAD."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        """Raises: OSError when the port cannot be had."""
        self._show = make_wsgi_app(registry)
        self._closed = Counter(
            "earwitness_metrics_connections_closed",
            "Connections to the metrics that were closed without an answer.",
            ["reason"],
            registry=registry,
        )
        for reason in ("too_many", "too_slow"):
            self._closed.labels(reason)
        self._waiting: dict[asyncio.Task[None], None] = {}
        """Connections that have not asked yet, the oldest first."""
        listening: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = Thread(
            target=self._loop.run_until_complete, args=[self._serve(host, port, listening)], name="metrics", daemon=True
        )
        self._thread.start()
        try:
            self.port = listening.result()
            """The port in use."""
        except OSError:
            self._end()
            raise

    def close(self) -> None:
        """Stop; blocks until the port is free."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._end()

    def _end(self) -> None:
        self._thread.join()
        self._loop.close()

    async def _serve(self, host: str, port: int, listening: "Future[int]") -> None:
        try:
            server = await asyncio.start_server(self._met, host, port, limit=MAX_REQUEST_BYTES, backlog=128)
        except OSError as err:
            listening.set_exception(err)
            return
        listening.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        task = asyncio.current_task()
        assert task is not None
        while len(self._waiting) >= MAX_CONNECTIONS:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel("too_many")
        self._waiting[task] = None
        reason = ""
        try:
            async with asyncio.timeout(REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
            self._waiting.pop(task, None)
            writer.write(_answer(self._show, head))
            async with asyncio.timeout(REQUEST_S):
                await writer.drain()
        except TimeoutError:
            reason = "too_slow"
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # gone, or no scraper
        except asyncio.CancelledError as err:
            reason = str(err) if not self._stopping.is_set() else ""
        finally:
            self._waiting.pop(task, None)
            if reason:
                self._closed.labels(reason).inc()
                _logger.debug("a connection to the metrics was closed: %s", reason)
                writer.transport.abort()
            else:
                writer.close()


def _answer(show: Any, head: bytes) -> bytes:
    """The whole answer to a request's head; what is shown, and in which format, is prometheus_client's to say."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, *_ = [*first.split(" "), "", ""]
    if method not in ("GET", "HEAD"):
        return b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    path, _, query = target.partition("?")
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    for line in lines:
        name, _, value = line.partition(":")
        environ["HTTP_" + name.strip().upper().replace("-", "_")] = value.strip()
    told: list[str] = []

    def start_response(status: str, headers: Iterable[tuple[str, str]]) -> None:
        told[:] = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]

    body = b"".join(show(environ, start_response))
    told += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(told).encode("latin-1") + (b"" if method == "HEAD" else body)
