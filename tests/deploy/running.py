"""The processes of a rendered chart, on this machine: their own environments, probes and test pod, real Triton."""

import asyncio
import os
import re
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.chart import ROOT, Pods, Rendered
from tests.helpers.certificates import issue

PATIENCE_S = 300.0
SAMPLE = re.compile(r"([\w:]+)(\{.*\})? ")
Samples = Mapping[str, set[str]]
"""Names of metrics, each with the names of its labels."""


@dataclass(frozen=True)
class Machine:
    """This machine in place of a cluster: where addresses, mounted secrets and volumes are here."""

    folder: Path
    addresses: Mapping[str, str]
    """HOST:PORT here of those in the cluster."""
    ports: Mapping[tuple[str, str], int]
    """Port here of a component's named port."""

    def environment(self, pods: Pods) -> dict[str, str]:
        """A pod's variables, said for this machine."""
        own = {f"{name}_port": port for (component, name), port in self.ports.items() if component == pods.component}
        own["port"] = own.pop("grpc_port", 0)
        env = {}
        for name, value in pods.environment.items():
            setting = name.removeprefix(f"EARWITNESS_{pods.component.upper()}_").lower()
            if setting == "host":
                value = "127.0.0.1"
            elif setting in own:
                value = str(own[setting])
            elif value.startswith("/etc/earwitness/"):
                value = str(self.folder / Path(value).relative_to("/etc/earwitness"))
            elif value == "/var/lib/earwitness":
                value = str(self.folder / pods.component)
            env[name] = self.addresses.get(value, value)
        return env

    def scrape(self, component: str) -> Samples:
        """What a service exports."""
        return scrape(f"http://127.0.0.1:{self.ports[component, 'metrics']}/metrics")


@asynccontextmanager
async def machine(rendered: Rendered, folder: Path, triton: str) -> AsyncIterator[Machine]:
    """Runs scorer and explainer as their pods say, on the secrets in `folder`, until their readiness probes are
    content."""
    services = [pods for name in ("scorer", "explainer") for pods in rendered.servers() if pods.component == name]
    ports = {(pods.component, name): free_port() for pods in services for name in pods.ports}
    addresses = {"earwitness-triton:8001": triton}
    for pods in services:
        address = f"earwitness-{pods.component}:{pods.ports['grpc']}"
        addresses[address] = f"127.0.0.1:{ports[pods.component, 'grpc']}"
    here = Machine(folder, addresses, ports)
    processes = []
    try:
        for pods in services:
            processes.append(
                await start(sys.executable, "-m", f"earwitness.{pods.component}", env=here.environment(pods))
            )
            await probe(pods, here, processes[-1])
        yield here
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def run_test_pod(rendered: Rendered, here: Machine) -> int:
    """The exit status of the pod of `helm test`."""
    (pods,) = [each for each in rendered.pods() if each.component == "test"]
    container = pods.spec["containers"][0]
    script = container["args"][0].replace("/tmp/", f"{here.folder}/")
    process = await start(*container["command"], script, env=here.environment(pods))
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


async def start(*command: str, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    inherited = {"PATH": path, "PYTHONPATH": str(ROOT / "services"), "OPENBLAS_NUM_THREADS": "1"}
    return await asyncio.create_subprocess_exec(*command, env=inherited | env)


async def probe(pods: Pods, here: Machine, process: asyncio.subprocess.Process) -> None:
    """Ask what the kubelet would ask, until it is content."""
    container = pods.spec["containers"][0]
    port = here.ports[pods.component, "health"]
    async with asyncio.timeout(PATIENCE_S), grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert pods.ports["health"] == container[kind]["grpc"]["port"]
            request = health_pb2.HealthCheckRequest(service=container[kind]["grpc"].get("service", ""))
            status = None
            while status != health_pb2.HealthCheckResponse.SERVING:
                assert process.returncode is None, f"the {pods.component} ended with {process.returncode}"
                with suppress(grpc.aio.AioRpcError):
                    status = (await health_pb2_grpc.HealthStub(channel).Check(request)).status
                await asyncio.sleep(0.1)


def write_secrets(folder: Path) -> None:
    """What the chart's secrets hold, where pods find it."""
    tls, auth = folder / "tls", folder / "auth"
    tls.mkdir()
    auth.mkdir()
    authority = issue("authority")
    server = issue("localhost", authority)
    (tls / "tls.crt").write_bytes(server.certificate_pem)
    (tls / "tls.key").write_bytes(server.key_pem)
    (tls / "ca.crt").write_bytes(authority.certificate_pem)
    (auth / "tokens").write_text("one-token admin\nthe-explainers-token explain\n")
    (auth / "client").write_text("the-explainers-token\n")


def scrape(url: str) -> Samples:
    """The metrics at an address, by the names that Prometheus sees: prometheus_client's parser changes Triton's."""
    with urllib.request.urlopen(url) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, set[str]] = {}
    for name, labels in (SAMPLE.match(line).groups("") for line in lines if line and not line.startswith("#")):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port: int = probing.getsockname()[1]
        return port
