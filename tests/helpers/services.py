"""The services as processes of their own, on ports of their own, gone with the block."""

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.request import urlopen

import grpc.aio
from prometheus_client.parser import text_string_to_metric_families

PATIENCE_S = 240.0
"""What waiting may take on a machine that has much else to do; seconds at most on one that has not."""
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+), metrics port (\d+)")


@dataclass(frozen=True)
class Service:
    """A service that listens, and a channel to it."""

    process: asyncio.subprocess.Process
    port: int
    metrics_url: str
    channel: grpc.aio.Channel

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def rss_bytes(self) -> int:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None, "the process ended"
        return 1024 * int(found[1])

    async def ended(self) -> int:
        """The exit status once the process has ended; negative for a signal."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)

    async def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        self.process.kill()
        assert await self.ended() == -signal.SIGKILL

    async def metric(self, name: str, **labels: str) -> float:
        """A sample of the metrics page; 0 for one that is not there, as counters are before their first event."""
        page = await asyncio.to_thread(lambda: urlopen(self.metrics_url).read().decode())
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0


@asynccontextmanager
async def service(name: Literal["explainer", "scorer"], **settings: object) -> AsyncIterator[Service]:
    """`python -m earwitness.NAME` with these settings, once it listens; killed at the end if it runs still.

    `port` and `metrics_port` are free ones unless given.
    """
    words = {"port": 0, "metrics_port": 0} | settings
    options = [f"--{word.replace('_', '-')}={value}" for word, value in words.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"earwitness.{name}", *options, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    reading = None
    try:
        found, said = None, ""
        while found is None:
            line = (await asyncio.wait_for(process.stderr.readline(), PATIENCE_S)).decode()
            assert line, f"the {name} ended: {said}"
            said, found = line, LISTENING.search(line)
        reading = asyncio.create_task(process.stderr.read())  # or a full pipe would hold it up
        async with grpc.aio.insecure_channel(f"127.0.0.1:{found[1]}") as channel:
            yield Service(process, int(found[1]), f"http://127.0.0.1:{found[2]}/metrics", channel)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading
