"""What a stranger can take of a server: every bound, by what no client would do."""

import asyncio
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.rpc import connections, messages, scrape
from earwitness.rpc.admission import STRANGER_WATCHES
from earwitness.rpc.errors import error_from_rpc
from earwitness.rpc.inbox import STRANGER_MESSAGES
from earwitness.rpc.settings import MIB
from tests.helpers.strangers import Stranger
from tests.integration.rpc.probe import KINDS, PATIENCE_S, SERVICE, Running, running
from tests.integration.rpc.test_access import bearer

HEALTH = "/grpc.health.v1.Health"


async def until(true: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_S / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to that")


def refused(service: Running, reason: str) -> float:
    """Calls that failed for a reason, by the metric."""
    registry = service.server.registry
    return sum(
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "earwitness_failed_calls_total" and sample.labels["reason"] == reason
    )


@asynccontextmanager
async def stranger(port: int | None, *, preface: bool = True) -> AsyncIterator[Stranger]:
    assert port is not None
    found = await Stranger.open(port, preface=preface)
    try:
        yield found
    finally:
        await found.close()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("a admin ada\nb admin bob\n")
    return path


async def test_who_has_no_token_is_refused_by_the_headers_alone(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "READ_OUT_S", 0.2)
    async with running(token_file=tokens) as service, stranger(service.server.port) as other:
        streams = [other.call(f"/{SERVICE}/{kind}") for kind in (*KINDS, "Nonsense")]
        await other.half(streams[0], 16 * MIB, 4 * MIB)
        await until(lambda: other.ended >= set(streams))
        assert refused(service, "UNAUTHENTICATED") == len(streams)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_that_does_not_come_ends_the_call(kind: str) -> None:
    async with running(first_message_s=0.2) as service, stranger(service.server.port) as other:
        silent, half = other.call(f"/{SERVICE}/{kind}"), other.call(f"/{SERVICE}/{kind}")
        await other.half(half, 8 * MIB, 100_000)
        if kind == "BidiStream":  # answers before it reads
            await until(lambda: other.answered >= 4)
        await until(lambda: other.ended >= {silent, half})
        assert refused(service, "MESSAGE_LATE") == 2
        assert (await service.call("Unary", "x"))[0] == ["x"]


async def test_slow_messages_are_bounded_and_quick_ones_pass(tokens: Path) -> None:
    settings = {"caller_slow_messages": 2, "max_slow_messages": 3, "first_message_s": PATIENCE_S}
    async with running(token_file=tokens, **settings) as service, stranger(service.server.port) as other:
        ada = [other.call(f"/{SERVICE}/Unary", bearer("a")) for _ in range(4)]
        await until(lambda: len(other.ended) == 2)
        bob = [other.call(f"/{SERVICE}/ClientStream", bearer("b")) for _ in range(3)]
        await until(lambda: len(other.ended) == 4)
        assert (len(other.ended & set(ada)), len(other.ended & set(bob))) == (2, 2)
        assert refused(service, "TOO_MANY_MESSAGES") == 4
        for token in "ab":
            for kind in KINDS:
                assert (await service.call(kind, "x", metadata=bearer(token)))[0][-1] == "x"
        other.whole(next(iter(set(ada) - other.ended)), b"")  # then there is room for another
        await until(lambda: len(other.ended) == 5)
        held = other.call(f"/{SERVICE}/Unary", bearer("b"))
        await asyncio.sleep(0.5)
        assert held not in other.ended


@pytest.mark.parametrize("port", ["port", "health_port"])
async def test_health_checks_that_are_half_sent_are_bounded(tokens: Path, port: str) -> None:
    """They need no token."""
    settings = {"health_port": 0, "caller_slow_messages": 4, "first_message_s": PATIENCE_S}
    async with running(token_file=tokens, **settings) as service, stranger(getattr(service.server, port)) as other:
        checks = [other.call(f"{HEALTH}/{name}") for name in ("Check", "Watch") * 5]
        await asyncio.gather(*(other.half(each, 16 * MIB, 100_000) for each in checks))
        await until(lambda: len(other.ended) == 8)
        assert await service.health() == "SERVING"


async def test_headers_of_health_checks_are_bounded_on_each_connection(tokens: Path) -> None:
    """At once: what is not slow yet is no less work. Probes on other connections notice nothing."""
    settings = {"caller_slow_messages": 100, "max_slow_messages": 100, "first_message_s": PATIENCE_S}
    async with running(token_file=tokens, **settings) as service, stranger(service.server.port) as other:
        checks = [other.call(f"{HEALTH}/Check") for _ in range(STRANGER_MESSAGES + 4)]
        await until(lambda: len(other.ended) == 4)
        # Whole ones are not waited for, however many a proxy sends at once on one connection.
        assert set(await asyncio.gather(*(service.health() for _ in range(10 * STRANGER_MESSAGES)))) == {"SERVING"}
        assert refused(service, "TOO_MANY_MESSAGES") == 4
        other.whole(next(iter(set(checks) - other.ended)), b"")
        await until(lambda: len(other.ended) == 5)
        held = other.call(f"{HEALTH}/Check")
        await asyncio.sleep(0.5)
        assert held not in other.ended


async def test_watches_are_bounded_and_checks_are_not() -> None:
    async with running(peer_watches=2) as service:
        watch = health_pb2_grpc.HealthStub(service.channel).Watch
        watching = [watch(health_pb2.HealthCheckRequest()) for _ in range(2)]
        assert [(await each.read()).status for each in watching] == [health_pb2.HealthCheckResponse.SERVING] * 2
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(service.statuses())
        failure = error_from_rpc(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES")
        assert await service.health() == "SERVING"
        watching[0].cancel()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    assert await anext(service.statuses()) == "SERVING"
                    break
                except grpc.aio.AioRpcError:  # the one that left is still counted
                    await asyncio.sleep(0.05)
    async with running(max_watches=1) as service:
        first = service.statuses()
        assert await anext(first) == "SERVING"
        with pytest.raises(grpc.aio.AioRpcError, match="of all callers"):
            await anext(service.statuses())


async def test_watches_of_a_stranger_are_bounded_by_their_headers(
    tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On its own connection: others watch on, and so does one of which a call was let in, as a proxy's may be."""
    async with running(token_file=tokens, first_message_s=PATIENCE_S) as service:
        async with stranger(service.server.port) as other:
            with caplog.at_level("INFO"):
                watches = [other.call(f"{HEALTH}/Watch") for _ in range(STRANGER_WATCHES + 2)]
                await until(lambda: len(other.ended) == 2)
            assert refused(service, "TOO_MANY_WATCHES") == 2
            assert "refused" not in caplog.text, "strangers could fill the log"
            assert await anext(service.statuses()) == "SERVING"
            assert other.ended == set(watches[-2:])
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"]
        watching = [service.statuses() for _ in range(2 * STRANGER_WATCHES)]
        assert {await anext(each) for each in watching} == {"SERVING"}


async def test_one_caller_leaves_a_quarter_of_the_calls_to_others(tokens: Path) -> None:
    async with running(token_file=tokens, max_concurrent_rpcs=4) as service:
        gate = asyncio.Event()

        async def wait(text: str) -> str:
            await gate.wait()
            return text

        service.probe.action = wait
        held = [service.open("BidiStream", "x", metadata=bearer("a")) for _ in range(3)]
        assert [(await each.read()).value for each in held] == ["first"] * 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call("Unary", "x", metadata=bearer("a"))
        assert error_from_rpc(caught.value).reason == "CALLER_TOO_BUSY"
        gate.set()
        assert (await service.call("Unary", "x", metadata=bearer("b")))[0] == ["x"]


async def test_connections_and_their_streams_are_bounded() -> None:
    async with running(max_connections=2, max_connection_streams=7) as service:
        assert (await service.call("Unary", "x"))[0] == ["x"]
        async with stranger(service.server.port) as second:
            assert second.max_streams == 7
            with pytest.raises(ConnectionError):
                await Stranger.open(service.server.port)
        assert (await service.call("Unary", "x"))[0] == ["x"]


async def test_connections_without_calls_are_closed() -> None:
    async with running(max_connection_idle_s=0.2) as service, stranger(service.server.port) as other:
        await asyncio.wait_for(other.closed.wait(), PATIENCE_S)


async def test_of_one_address_the_newest_that_nobody_was_let_in_by_are_closed(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)
    async with running(token_file=tokens, peer_connections=3) as service:
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"]
        others = [await Stranger.open(service.server.port) for _ in range(5)]
        await until(lambda: sum(each.closed.is_set() for each in others) == 3)
        closed = service.server.registry.get_sample_value("earwitness_connections_closed_total", {"reason": "peer"})
        assert closed == 3
        assert "of 127.0.0.1: one address may have 3 (peer_connections)" in caplog.text
        await until(lambda: service.server.registry.get_sample_value("earwitness_connections") == 3)
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"], "on its first connection"
        for each in others:
            await each.close()


async def test_who_does_not_wait_for_refusals_is_hung_up_on(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(token_file=tokens) as service, stranger(service.server.port) as other:
        for _ in range(90):
            other.call(f"/{SERVICE}/Unary", bearer("wrong"))
        await asyncio.wait_for(other.closed.wait(), PATIENCE_S)
        assert "call after call of theirs was refused and none was let in" in caplog.text
        assert refused(service, "UNAUTHENTICATED") < 60, "those that follow are not looked at"


async def test_who_waits_for_each_refusal_hears_all(tokens: Path) -> None:
    async with running(token_file=tokens) as service:
        for number in range(24):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.call("Unary", "x", metadata=bearer("wrong") if number % 2 else [])
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_connection_of_which_a_call_was_let_in_is_left(tokens: Path) -> None:
    """It may be a proxy's, of many callers."""
    async with running(token_file=tokens) as service:
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"]
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.call("Unary", "x")
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_where_many_are_connected_the_silent_are_closed(tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LOOK_S", 0.05)
    monkeypatch.setattr(connections, "SILENT_S", 0.1)
    async with running(token_file=tokens, max_connections=4) as service:
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"]
        others = [await Stranger.open(service.server.port) for _ in range(3)]
        others[0].whole(others[0].call(f"/{SERVICE}/Unary"), b"")  # refused: it has no token
        await until(lambda: all(each.closed.is_set() for each in others))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.server.port}") as channel:
            fresh = Running(service.server, service.probe, channel)
            assert (await fresh.call("Unary", "y", metadata=bearer("b")))[0] == ["y"]
        assert (await service.call("Unary", "x", metadata=bearer("a")))[0] == ["x"]
        for each in others:
            await each.close()


async def test_idle_connections_to_the_metrics_take_no_threads_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "MAX_CONNECTIONS", 4)
    async with running(metrics_port=0) as service:
        port = service.server.metrics_port
        assert port is not None
        before = threading.active_count()
        idle = [await Stranger.open(port, preface=False) for _ in range(12)]
        await until(lambda: sum(each.closed.is_set() for each in idle) == 8)
        assert threading.active_count() <= before
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read())
        assert b'earwitness_metrics_connections_closed_total{reason="too_many"} 8.0' in page.replace(b" 9.0", b" 8.0")
        for each in idle:
            await each.close()


async def test_a_scraper_that_does_not_ask_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "REQUEST_S", 0.2)
    async with running(metrics_port=0) as service, stranger(service.server.metrics_port, preface=False) as other:
        other.writer.write(b"GET /metrics HTTP/1.1\r\n")
        await asyncio.wait_for(other.closed.wait(), PATIENCE_S)
        closed = service.server.registry.get_sample_value
        labels = {"reason": "too_slow"}
        await until(lambda: closed("earwitness_metrics_connections_closed_total", labels) == 1)


async def test_a_large_message_is_refused_in_words(tokens: Path) -> None:
    """Though it is still being sent when the answer comes."""
    async with running(token_file=tokens) as service:
        for _ in range(10):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await service.call("Unary", "x" * 8 * MIB, metadata=bearer("wrong"))
            assert error_from_rpc(caught.value).reason == "UNAUTHENTICATED"
