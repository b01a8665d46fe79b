"""`Connections`: who is connected to a server, and who has to go.

gRPC itself only counts: it silently closes each connection beyond a number, whoever made the others. So the
process' own sockets are looked at every second; one that is shut down is to gRPC one whose peer has gone.
"""

import asyncio
import logging
import os
import socket
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge

LOOK_S = 1.0
TURN = 32
"""Sockets that are looked at in one go."""
MAX_REFUSED, HOLD_S, MAX_HELD = 16, 0.05, 8
"""On a connection of which no call was let in yet: after so many refusals the others are held for a moment, and where
so many are held at once, it is closed."""
SILENT_S = 2.0
"""Age at which a connection without a call that was let in is closed, once three quarters of all are taken."""
CROWDED = 0.75
GONE_S = 5.0
"""What gRPC has to hand over the calls of a connection that was closed."""
DESCRIPTORS = "/dev/fd"
_Peer = tuple[str, int]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Socket:
    """An open socket; the inode distinguishes it from the next with the same number."""

    descriptor: int
    inode: int


@dataclass
class Connection:
    """One connection to the server."""

    address: str
    port: int
    since: float = field(default_factory=monotonic)
    known: bool = False
    """Whether a call of it was let in, health checks aside."""

    @property
    def peer(self) -> "_Peer":
        """What distinguishes it from others."""
        return self.address, self.port


class Connections:
    """Closes connections beyond what one address may have, and silent ones where there are many; counts both."""

    def __init__(self, most: int, most_of_one: int, registry: CollectorRegistry) -> None:
        """Of all `most` are taken as full, of one address `most_of_one` are left open."""
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[_Socket, Connection | None] = {}
        self._met: set[_Peer] = set()
        self._refused: Counter[_Peer] = Counter()
        self._held: Counter[_Peer] = Counter()
        self._gone: dict[_Peer, float] = {}
        self._ports: frozenset[int] = frozenset()
        self._gauge = Gauge("earwitness_connections", "Connections of callers that are open.", registry=registry)
        self._closed = prometheus_client.Counter(
            "earwitness_connections_closed", "Connections of callers that were closed.", ["reason"], registry=registry
        )
        for reason in ("peer", "silent", "refused"):
            self._closed.labels(reason)
        self._full = False
        self._task: asyncio.Task[None] | None = None

    def start(self, ports: Collection[int]) -> None:
        """Look after the connections to these ports, until `stop`."""
        if os.path.isdir(DESCRIPTORS):
            self._ports = frozenset(ports)
            self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def meet(self, peer: str) -> None:
        """A call was let in from a peer, as gRPC writes it: "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711"."""
        if self._task is not None:
            self._met.add(_peer(peer))

    def is_known(self, peer: str) -> bool:
        """Whether a call of the peer was let in; true where connections are not looked after."""
        return self._task is None or _peer(peer) in self._met

    async def refuse(self, peer: str) -> None:
        """Await this before a call is refused that has shown no credential.

        It tells a caller who makes one call after the other, and hears after a while a little later that each is
        refused, from one who does not wait for answers: that connection is closed.
        """
        known = _peer(peer)
        if self._task is None or known in self._met or known in self._gone:
            return
        self._refused[known] += 1
        if self._refused[known] <= MAX_REFUSED:
            return
        self._held[known] += 1
        try:
            if self._held[known] >= MAX_HELD:
                self._look()
                self._gone[known] = monotonic()
                self._close("refused", [key for key, each in self._open.items() if each and each.peer == known])
            await asyncio.sleep(HOLD_S)
        finally:
            self._held[known] -= 1
            if not self._held[known]:
                del self._held[known]

    def is_gone(self, peer: str) -> bool:
        """Whether the peer's connection was closed by `refuse`: gRPC hands over what had come of it before."""
        return bool(self._gone) and _peer(peer) in self._gone

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look_in_turns()
            except Exception:
                _logger.exception("the connections could not be looked at")

    async def _look_in_turns(self) -> None:
        """The same as `_look`, with calls let through between a few sockets and the next: a look at thousands takes as
        long as many calls."""
        found: dict[_Socket, Connection | None] = {}
        for number, (key, each) in enumerate(_sockets(self._ports, self._open), start=1):
            found[key] = each
            if number % TURN == 0:
                await asyncio.sleep(0)
        # What was closed meanwhile stays so.
        self._take(found | {key: each for key, each in self._open.items() if each is None and key in found})

    def _look(self) -> None:
        """Look once, and close what has to go."""
        self._take(dict(_sockets(self._ports, self._open)))

    def _take(self, found: dict[_Socket, Connection | None]) -> None:
        """Close what has to go of what is open now."""
        self._open = found
        present = {each.peer for each in self._callers().values()}
        for each in self._callers().values():
            each.known |= each.peer in self._met
        self._met &= present
        self._gone = {peer: when for peer, when in self._gone.items() if when > monotonic() - GONE_S}
        self._refused = Counter({peer: count for peer, count in self._refused.items() if peer in present})
        self._close("peer", self._beyond(self._callers()))
        self._close("silent", self._silent(self._callers()))
        count = len(self._callers())
        self._gauge.set(count)
        if self._full != (count >= self._most):
            self._full = not self._full
            if self._full:
                _logger.warning("%d connections are open (max_connections): more are closed unseen", count)

    def _callers(self) -> dict[_Socket, Connection]:
        return {key: each for key, each in self._open.items() if each is not None}

    def _close(self, reason: str, closing: Collection[_Socket]) -> None:
        gone: Counter[str] = Counter()
        for key in closing:
            each, self._open[key] = self._open[key], None  # not to be met again while gRPC takes leave of it
            if each is not None and _shut(key):
                gone[each.address] += 1
        for address, count in gone.items():
            self._closed.labels(reason).inc(count)
            _logger.warning("closed %d connections of %s: %s", count, address, self._why(reason))

    def _why(self, reason: str) -> str:
        return {
            "peer": f"one address may have {self._most_of_one} (peer_connections)",
            "silent": f"no call of theirs was let in, and of {self._most} (max_connections) most are taken",
            "refused": "call after call of theirs was refused and none was let in",
        }[reason]

    def _beyond(self, connections: Mapping[_Socket, Connection]) -> list[_Socket]:
        """Those that an address has too many: first who made no call that was let in, and of these the newest."""
        counts = Counter(each.address for each in connections.values())
        beyond: list[_Socket] = []
        for address, count in counts.items():
            if count > self._most_of_one:
                theirs = [(key, each) for key, each in connections.items() if each.address == address]
                theirs.sort(key=lambda pair: (pair[1].known, -pair[1].since))
                beyond += [key for key, _ in theirs[: count - self._most_of_one]]
        return beyond

    def _silent(self, connections: Mapping[_Socket, Connection]) -> list[_Socket]:
        if len(connections) < CROWDED * self._most:
            return []
        before = monotonic() - SILENT_S
        return [key for key, each in connections.items() if not each.known and each.since < before]


def _peer(written: str) -> _Peer:
    _, _, rest = written.partition(":")
    address, _, port = rest.rpartition(":")
    return address.replace("%5B", "").replace("%5D", "").strip("[]"), int(port) if port.isdecimal() else 0


def _sockets(
    ports: Collection[int], seen: Mapping[_Socket, Connection | None]
) -> Iterator[tuple[_Socket, Connection | None]]:
    """All sockets of this process, those seen before as they were: with what is connected to `ports`, or None."""
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # closed meanwhile
            found = os.fstat(int(name))
            if stat.S_ISSOCK(found.st_mode):
                key = _Socket(int(name), found.st_ino)
                yield key, seen[key] if key in seen else _connection(key, ports)


def _connection(key: _Socket, ports: Collection[int]) -> Connection | None:
    with socket.socket(fileno=os.dup(key.descriptor)) as looked_at:
        if looked_at.family not in (socket.AF_INET, socket.AF_INET6) or looked_at.getsockname()[1] not in ports:
            return None
        try:
            address, port, *_ = looked_at.getpeername()
        except OSError:  # the one that listens
            return None
    return Connection(str(address).removeprefix("::ffff:"), port)


def _shut(key: _Socket) -> bool:
    """Whether the socket was still there to be shut."""
    with suppress(OSError), socket.socket(fileno=os.dup(key.descriptor)) as shut:
        if os.fstat(shut.fileno()).st_ino == key.inode:
            shut.shutdown(socket.SHUT_RDWR)
            return True
    return False
