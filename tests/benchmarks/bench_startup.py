"""How long each service takes from its start to SERVING, and what it weighs then: `bench_startup.py [--json PATH]`.

Each is started several times, in turns, as `earwitness up` and the images start it: from the exec of Python to the
first SERVING of the standard health service, asked without a pause. "CPU s" is its processor time until then, which a
busy machine changes less. Triton's own start does not count: the explainer
with Triton is started beside a Triton that runs (`--backend local` leaves it out).
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from earwitness.cli.stack import Ports, choose_ports
from earwitness.inference.triton_install import fetch_tritonserver
from earwitness.inference.tritonserver import TritonServer
from tests.helpers.machine import machine
from tests.helpers.processes import mapped_files, processor_s, usage

MIB = 2**20
TARGET_S, TARGET_MIB = 2.0, 250.0
PATIENCE_S = 120.0
POLL_S = 0.005
TORCH = re.compile(r"/(torch|libtorch[^/]*)(/|\.so|$)")
Settings = Mapping[str, object]
"""Of a service, by their names."""


@dataclass(frozen=True)
class Start:
    """One start: seconds to SERVING, and what the process took until then."""

    seconds: float
    processor_s: float
    resident_mib: float
    thread_count: int
    torch: bool


@dataclass(frozen=True)
class Figure:
    """A service's starts: medians, and the slowest."""

    service: str
    starts: int
    seconds: float
    slowest_s: float
    processor_s: float
    resident_mib: float
    thread_count: int
    torch: bool

    @classmethod
    def of(cls, service: str, starts: list[Start]) -> "Figure":
        return cls(
            service,
            len(starts),
            statistics.median(each.seconds for each in starts),
            max(each.seconds for each in starts),
            statistics.median(each.processor_s for each in starts),
            statistics.median(each.resident_mib for each in starts),
            round(statistics.median(each.thread_count for each in starts)),
            any(each.torch for each in starts),
        )

    @property
    def met(self) -> bool:
        return self.seconds < TARGET_S and self.resident_mib < TARGET_MIB and not self.torch


async def start(service: str, settings: Settings) -> Start:
    """Start a service once, and stop it.

    Raises: TimeoutError; SystemExit when it ends by itself.
    """
    with tempfile.TemporaryDirectory(prefix="earwitness-bench-") as data:
        port = choose_ports("127.0.0.1", Ports(0, 0, 0, 0, 0, 0), "local").explainer
        words = {"port": port, "metrics_port": 0, "data_dir": data, **settings}
        prefix = f"EARWITNESS_{service.upper()}_"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
        environment |= {f"{prefix}{name.upper()}": str(value) for name, value in words.items()}
        began = time.perf_counter()
        # What it logs, or why it does not start, is said here.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"earwitness.{service}", "--log-level", "WARNING"), env=environment
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _serving(process, port)
            seconds = time.perf_counter() - began
            used = usage(process.pid)
            torch = any(TORCH.search(path) for path in mapped_files(process.pid))
            return Start(seconds, processor_s(process.pid), used.resident_bytes / MIB, used.thread_count, torch)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _serving(process: asyncio.subprocess.Process, port: int) -> None:
    # A channel that is refused waits a second before the next try, unless told.
    impatient = [(f"grpc.{name}_reconnect_backoff_ms", 5) for name in ("initial", "min", "max")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=impatient) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while True:
            if process.returncode is not None:
                raise SystemExit(f"the service ended with status {process.returncode}")
            with suppress(grpc.aio.AioRpcError):
                answer = await health.Check(health_pb2.HealthCheckRequest())
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(POLL_S)


async def measure(repository: Path, count: int, *, triton: bool) -> list[Figure]:
    async with AsyncExitStack() as exit_stack:
        local = {"backend": "local", "model_repository": repository}
        services: dict[str, tuple[str, Settings]] = {"scorer": ("scorer", {}), "explainer, local": ("explainer", local)}
        if triton:
            install = await asyncio.to_thread(fetch_tritonserver)
            server = await exit_stack.enter_async_context(TritonServer(install, repository))
            services["explainer, triton"] = ("explainer", {"backend": "triton", "triton_url": server.grpc_url})
        starts: dict[str, list[Start]] = {name: [] for name in services}
        for turn in range(count + 1):
            for name, (service, settings) in services.items():
                started = await start(service, settings)
                if turn:  # the first one compiles Python's files and fills the disk's cache
                    starts[name].append(started)
    return [Figure.of(name, found) for name, found in starts.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--starts", type=int, default=7, help="starts of each, after one to warm up (default: 7)")
    parser.add_argument("--model-repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--backend", choices=("triton", "local"), default="triton", help="default: both, with a Triton")
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.model_repository, options.starts, triton=options.backend == "triton"))
    print(f"medians of {options.starts} starts; targets: {TARGET_S:g} s, {TARGET_MIB:g} MiB, no torch")
    print(f"{'service':20} {'seconds':>8} {'slowest':>8} {'CPU s':>6} {'MiB':>6} {'threads':>8}  torch")
    for each in figures:
        loaded = "LOADED" if each.torch else "no"
        print(
            f"{each.service:20} {each.seconds:8.2f} {each.slowest_s:8.2f} {each.processor_s:6.2f}"
            f" {each.resident_mib:6.0f} {each.thread_count:8}  {loaded:6}{'' if each.met else ' MISSED'}"
        )
    if options.json:
        body = {"machine": machine(), "figures": [asdict(each) for each in figures]}
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
