"""The health service says what the services say of themselves."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from earwitness.rpc import health
from earwitness.rpc.server import RpcServer
from earwitness.rpc.settings import ServerSettings
from tests.helpers.certificates import issue
from tests.integration.rpc.probe import SERVICE, Probe, Running, running


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "POLL_S", 0.1)
    monkeypatch.setattr(health, "TIMEOUT_S", 0.5)


async def eventually(service: Running, wanted: str) -> None:
    async for status in service.statuses():
        if status == wanted:
            return


async def test_status_is_true_at_start_and_follows() -> None:
    async with running() as service:
        assert await service.health() == await service.health("") == "SERVING"
        service.probe.healthy = False
        await eventually(service, "NOT_SERVING")
        assert await service.health("") == "NOT_SERVING"
        service.probe.healthy = True
        await eventually(service, "SERVING")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.health("nobody.v1.Service")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_one_bad_service_makes_the_whole_not_serving(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    async def hangs() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return True

    async def raises() -> bool:
        raise RuntimeError("store is away")

    good = Probe()
    server = RpcServer(ServerSettings(), CollectorRegistry())
    server.add(SERVICE, good.register, good.is_healthy)
    server.add("hangs.v1.Service", lambda server: None, hangs)
    server.add("raises.v1.Service", lambda server: None, raises)
    async with asyncio.timeout(60), server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        service = Running(server, good, channel)
        assert await service.health() == "SERVING"
        assert await service.health("hangs.v1.Service") == "NOT_SERVING"
        assert await service.health("raises.v1.Service") == "NOT_SERVING"
        assert await service.health("") == "NOT_SERVING"
        await asyncio.sleep(2 * health.TIMEOUT_S)
    assert asked == 1
    assert caplog.text.count("raises.v1.Service cannot determine") == 1


async def test_a_store_that_hung_is_asked_once_and_believed_when_it_answers() -> None:
    questions: list[asyncio.Future[bool]] = []

    async def store() -> bool:
        questions.append(asyncio.get_running_loop().create_future())
        return await questions[-1]

    name = "store.v1.Service"
    server = RpcServer(ServerSettings(), CollectorRegistry())
    server.add(name, lambda server: None, store)
    async with asyncio.timeout(60), server, grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        service = Running(server, Probe(), channel)
        assert await service.health(name) == "NOT_SERVING"
        (question,) = questions
        question.set_result(True)
        async for status in service.statuses(name):
            if status == "SERVING":
                break
        async for status in service.statuses(name):  # the next question hangs again
            if status == "NOT_SERVING":
                break
        assert len(questions) == 2
    assert questions[1].cancelled()


async def test_watchers_hear_every_change_though_another_left() -> None:
    async with running() as service:
        leaving, staying, strange = (service.statuses(name) for name in (SERVICE, SERVICE, "nobody"))
        assert await anext(leaving) == await anext(staying) == "SERVING"
        assert await anext(strange) == "SERVICE_UNKNOWN"
        await leaving.aclose()
        service.probe.healthy = False
        assert await asyncio.wait_for(anext(staying), 30) == "NOT_SERVING"
        service.probe.healthy = True
        assert await asyncio.wait_for(anext(staying), 30) == "SERVING"
        stopping = asyncio.create_task(service.server.stop(drain_s=30))
        assert await asyncio.wait_for(anext(staying), 30) == "NOT_SERVING"
        for stream in (staying, strange):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(stream)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(stopping, 30)


async def test_live_while_what_is_needed_is_away() -> None:
    async with running() as service:
        service.probe.healthy = False
        await eventually(service, "NOT_SERVING")
        assert await service.health(health.LIVE) == "SERVING"


async def test_a_port_for_probes_that_speak_no_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = issue("localhost").write(tmp_path, "server")
    async with running(health_port=0, tls_certificate=certificate, tls_key=key) as service:
        assert service.server.health_port
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.server.health_port}") as channel:
            probing = Running(service.server, service.probe, channel)
            assert await probing.health("") == await probing.health(health.LIVE) == "SERVING"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await probing.call("Unary", "x")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            with pytest.raises(grpc.aio.AioRpcError, match="'nobody' does not exist") as caught:
                await probing.health("nobody")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            watched = probing.statuses()
            assert await anext(watched) == "SERVING"
            await service.server.stop()
            assert await anext(watched) == "NOT_SERVING"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await anext(watched)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", service.server.health_port)
    assert "Traceback" not in caplog.text
