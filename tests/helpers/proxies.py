"""An HTTP proxy that notes what it is asked for and refuses it, as a company's does for what is inside."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

VARIABLES = [each for name in ("grpc", "http", "https", "all") for each in (f"{name}_proxy", f"{name}_proxy".upper())]
EXCEPTIONS = ["no_proxy", "NO_PROXY", "no_grpc_proxy"]


@dataclass
class Proxy:
    """Where it listens, and the first line of each request that it had."""

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As users set it, with a password."""
        return f"http://user:secret@127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Every variable that names a proxy to some program, and no exceptions from it."""
        return dict.fromkeys(VARIABLES, self.url) | {"no_proxy": "", "NO_PROXY": ""}


@contextmanager
def refusing_proxy() -> Iterator[Proxy]:
    """It runs until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(server.getsockname()[1])
        Thread(target=_refuse, args=(server, proxy), daemon=True).start()
        yield proxy


def _refuse(server: socket.socket, proxy: Proxy) -> None:
    with suppress(OSError):  # closed
        while True:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                proxy.asked.append(connection.recv(4096).partition(b"\r\n")[0].decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
