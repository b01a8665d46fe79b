"""Channels from a service to another server: plain text, TLS or mutual TLS, reopened when certificates change."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio

from earwitness.rpc.files import Watched
from earwitness.rpc.proxies import proxy_options
from earwitness.rpc.tls import require_pair

RETIRED_S = 600.0
"""What calls on a channel that was replaced have to finish."""
Stub = TypeVar("Stub")


@dataclass(frozen=True)
class ClientTls:
    """PEM files: the authority that is trusted, and what is shown where the other side wants mutual TLS."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All that there are."""
        return [each for each in (self.authority, self.certificate, self.key) if each is not None]

    def read(self) -> grpc.ChannelCredentials:
        """Raises: FailedPrecondition for files that do not fit together; OSError."""
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(self.authority.read_bytes())
        require_pair(self.certificate, self.key, self.authority)
        return grpc.ssl_channel_credentials(
            self.authority.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes()
        )


class Dialled(Generic[Stub]):
    """A channel to `address`, HOST:PORT, and the stub on it; opened by the first call, and by one after `close`.

    Once the files of `tls` have changed, new calls take a new channel; those in flight end on the one before.
    `on_change` is called when the connection is made or lost, and when a new channel is used.
    """

    def __init__(
        self,
        address: str,
        make_stub: Callable[[grpc.aio.Channel], Stub],
        options: Sequence[tuple[str, Any]],
        tls: ClientTls | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """Raises: FailedPrecondition, OSError for files that cannot be used."""
        self._address = address
        self._make_stub = make_stub
        self._options = options
        self._on_change = on_change
        self._watching: asyncio.Task[None] | None = None
        self._credentials = None if tls is None else Watched(tls.files, tls.read)
        self._used: grpc.ChannelCredentials | None = None
        self._open: tuple[grpc.aio.Channel, Stub] | None = None
        self._retired: set[asyncio.Task[None]] = set()

    @property
    def stub(self) -> Stub:
        """For the next call."""
        return self._current()[1]

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        opened, self._open = self._open, None
        if self._watching is not None:
            self._watching.cancel()
        for task in self._retired:
            task.cancel()
        if opened is not None:
            await opened[0].close()

    def _current(self) -> tuple[grpc.aio.Channel, Stub]:
        credentials = None if self._credentials is None else self._credentials.current()
        if self._open is not None and credentials is not self._used:
            retiring = asyncio.get_running_loop().create_task(self._open[0].close(RETIRED_S))
            self._retired.add(retiring)
            retiring.add_done_callback(self._retired.discard)
            self._open = None
        if self._open is None:
            address, self._used = self._address, credentials
            options = [*self._options, *proxy_options(address)]
            channel = (
                grpc.aio.insecure_channel(address, options)
                if credentials is None
                else grpc.aio.secure_channel(address, credentials, options)
            )
            self._open = (channel, self._make_stub(channel))
            self._watch(channel)
        return self._open

    def _watch(self, channel: grpc.aio.Channel) -> None:
        told = self._on_change
        if told is None:
            return
        if self._watching is not None:
            self._watching.cancel()
            told()

        async def watch() -> None:
            while True:
                await channel.wait_for_state_change(channel.get_state())
                told()

        self._watching = asyncio.create_task(watch())
