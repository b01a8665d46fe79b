"""Who is asked through a proxy, and what is said of it: this machine never is."""

import socket
import urllib.request

import grpc.aio
import pytest

from earwitness.bench.errors import BenchError
from earwitness.bench.prometheus import Prometheus
from earwitness.client import ExplainerClient, RpcFailure
from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.triton import TritonBackend
from earwitness.rpc.proxies import on_this_machine, past_proxy, proxy_options, told
from tests.helpers.proxies import EXCEPTIONS, VARIABLES, Proxy, refusing_proxy

ELSEWHERE = "192.0.2.7:50051"
"""TEST-NET-1 (RFC 5737): nobody's address."""


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of proxies."""
    for name in (*VARIABLES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def proxy(quiet: pytest.MonkeyPatch):
    """A proxy that all of the environment's variables name."""
    with refusing_proxy() as running:
        for name, value in running.environment.items():
            quiet.setenv(name, value)
        yield running


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "api.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]",
        "0.0.0.0", "::", "::ffff:127.0.0.1",
    ],
)  # fmt: skip
def test_this_machine(host: str) -> None:
    assert on_this_machine(host)


@pytest.mark.parametrize("host", ["", "192.0.2.7", "2001:db8::1", "localhost.example.com", "127.0.0.1.example.com"])
def test_other_machines(host: str) -> None:
    assert not on_this_machine(host)


def test_an_address_of_a_network_card_is_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.7", 9))  # sends nothing; the kernel chooses the address to send from
        own = probe.getsockname()[0]
    assert on_this_machine(own)


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/tmp/socket", "unix:///tmp/socket", "unix-abstract:name",
        "dns:///localhost:1", "dns://192.0.2.1/localhost:1", "ipv4:127.0.0.1:1,127.0.0.2:1", "ipv6:[::1]:1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_grpc_goes_past_proxies_to_this_machine(quiet: pytest.MonkeyPatch, variable: str, target: str) -> None:
    quiet.setenv(variable, "http://192.0.2.1:3128")
    assert proxy_options(target) == [("grpc.enable_http_proxy", 0)]
    assert told(target) == ""


@pytest.mark.parametrize("target", [ELSEWHERE, "dns:///triton:8001", "triton:8001", "ipv4:127.0.0.1:1,192.0.2.7:1"])
def test_other_hosts_are_asked_through_it(quiet: pytest.MonkeyPatch, target: str) -> None:
    quiet.setenv("http_proxy", "http://user:secret@192.0.2.1:3128")
    assert proxy_options(target) == []
    assert "through the proxy http://192.0.2.1:3128 (http_proxy)" in told(target)
    assert "secret" not in told(target)


@pytest.mark.parametrize(
    ("exception", "hosts"),
    [
        ("no_proxy", "192.0.2.7"), ("no_grpc_proxy", "a,192.0.2.0/24"), ("NO_PROXY", "192.0.2.7"), ("no_proxy", "*"),
        ("NO_PROXY", " a , 192.0.2.7 "),
    ],
)  # fmt: skip
def test_exceptions_hold(quiet: pytest.MonkeyPatch, exception: str, hosts: str) -> None:
    quiet.setenv("https_proxy", "http://192.0.2.1:3128")
    quiet.setenv(exception, hosts)
    assert proxy_options(ELSEWHERE) == [("grpc.enable_http_proxy", 0)]


@pytest.mark.parametrize(
    ("host", "excepted"),
    [("a.example.com", True), ("example.com", True), ("EXAMPLE.com", True), ("anexample.com", False)],
)
@pytest.mark.parametrize("entry", ["example.com", ".example.com", "*.example.com"])
def test_a_domain_is_an_exception_with_its_hosts(
    quiet: pytest.MonkeyPatch, entry: str, host: str, excepted: bool
) -> None:
    quiet.setenv("http_proxy", "http://192.0.2.1:3128")
    quiet.setenv("no_proxy", entry)
    assert bool(proxy_options(f"{host}:1")) == excepted


@pytest.mark.parametrize("value", ["", "https://192.0.2.1:3128", "socks5://192.0.2.1:1", "192.0.2.1:3128"])
def test_what_grpc_takes_for_no_proxy_is_none(quiet: pytest.MonkeyPatch, value: str) -> None:
    quiet.setenv("grpc_proxy", value)
    quiet.setenv("http_proxy", "http://192.0.2.1:3128")  # the first that is set holds
    assert told(ELSEWHERE) == ""


async def test_a_client_names_the_proxy_and_the_way_out(proxy: Proxy) -> None:
    async with ExplainerClient(ELSEWHERE) as explainer:
        with pytest.raises(RpcFailure) as caught:
            await explainer.list_models()
    assert proxy.asked
    assert f"through the proxy http://127.0.0.1:{proxy.port} (grpc_proxy)" in caught.value.message
    assert "set no_proxy=192.0.2.7" in caught.value.message
    assert "secret" not in caught.value.message


async def test_so_does_what_asks_triton(proxy: Proxy) -> None:
    backend = TritonBackend(ELSEWHERE)
    with pytest.raises(InferenceUnavailable, match=r"through the proxy http://127.0.0.1:\d+ \(grpc_proxy\)"):
        await backend.bundles()
    await backend.close()


async def test_nobody_on_this_machine_is_not_blamed_on_it(proxy: Proxy) -> None:
    async with ExplainerClient("127.0.0.1:1") as explainer:
        with pytest.raises(RpcFailure) as caught:
            await explainer.list_models()
    assert "proxy" not in caught.value.message
    assert proxy.asked == []


async def test_prometheus(proxy: Proxy) -> None:
    with pytest.raises(BenchError, match=r"cannot be asked: .*refused>$"):
        await Prometheus("http://127.0.0.1:1").now()
    assert past_proxy("http://localhost:9090")
    assert proxy.asked == []
    with pytest.raises(BenchError, match=r"through the proxy http://127.0.0.1:\d+ \(http_proxy\).*no_proxy=192.0.2.7"):
        await Prometheus("http://192.0.2.7:9090").now()
    assert proxy.asked


async def test_what_is_said_of_grpc_is_so(proxy: Proxy, quiet: pytest.MonkeyPatch) -> None:
    """gRPC itself, without our options: it asks the proxy for 127.0.0.1, and takes neither NO_PROXY nor a star."""
    quiet.setenv("NO_PROXY", "127.0.0.1")
    quiet.setenv("no_proxy", "*")
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/a/b")(b"")
    assert proxy.asked[0].startswith("CONNECT 127.0.0.1:1 ")
    assert urllib.request.getproxies()["http"] == proxy.url
