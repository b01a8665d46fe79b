"""What became of requests, as the real server tells Prometheus, and what our alert makes of it."""

import asyncio
import re
import subprocess
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from earwitness.inference.backend import InferenceFailed
from earwitness.inference.triton import TritonBackend
from tests.deploy.chart import ROOT, tool
from tests.e2e.conftest import RunningTriton
from tests.helpers.probe_model import probe_inputs

PATIENCE_S = 120.0
SECOND = 100_000
"""About a second's iterations of the probe model."""
SERIES = re.compile(r'^(nv_inference_request_(?:success|failure)\{[^}]*\bmodel="probe"[^}]*}) (\d+)$', re.MULTILINE)
FAILURE, SUCCESS = "nv_inference_request_failure", "nv_inference_request_success"


@pytest.fixture
async def backend(triton: RunningTriton) -> AsyncIterator[TritonBackend]:
    backend = TritonBackend(triton.grpc_url)
    yield backend
    await backend.close()


async def counted(triton: RunningTriton) -> Counter[str]:
    """Requests to the probe model by series, once they stand still: Triton counts one after it has answered it."""
    found: Counter[str] | None = None
    last: Counter[str] | None = None
    while found is None or found != last:
        await asyncio.sleep(0.1)
        last = found
        with await asyncio.to_thread(urllib.request.urlopen, triton.metrics_url) as page:
            found = Counter({name: int(value) for name, value in SERIES.findall(page.read().decode())})
    return found


def failures(counts: Counter[str], reason: str) -> int:
    """Failures for a reason, whoever counted them."""
    return sum(count for name, count in counts.items() if name.startswith(FAILURE) and f'reason="{reason}"' in name)


async def test_failed_requests_are_counted_as_failures(triton: RunningTriton, backend: TritonBackend) -> None:
    before = await counted(triton)
    await backend.infer("probe", probe_inputs(0), ["y"])
    for _ in range(5):
        with pytest.raises(InferenceFailed, match=r"^probe: \[ONNXRuntimeError\].*out of data bounds[^\n]*$"):
            await backend.infer("probe", probe_inputs(0, index=99), ["y"])
    grown = (await counted(triton)) - before
    assert (grown[f'{SUCCESS}{{model="probe",version="1"}}'], failures(grown, "BACKEND"), grown.total()) == (1, 5, 6)


async def behind(triton: RunningTriton, backend: TritonBackend, indices: list[int]) -> list["asyncio.Task[object]"]:
    """Requests that run as one batch, for they wait for a slow one."""
    first = asyncio.create_task(backend.infer("probe", probe_inputs(0, iterations=SECOND), ["y"]))
    await asyncio.sleep(0.2)  # it runs, alone
    waiting = [asyncio.create_task(backend.infer("probe", probe_inputs(0, index=index), ["y"])) for index in indices]
    while await triton.pending("probe") < len(indices) and not first.done():
        pass
    return [first, *waiting]


async def test_a_batch_in_which_each_fails_for_its_own_reason(triton: RunningTriton, backend: TritonBackend) -> None:
    before = await counted(triton)
    _, *outcomes = await asyncio.gather(*await behind(triton, backend, [*range(90, 96)]), return_exceptions=True)
    assert all(isinstance(each, InferenceFailed) for each in outcomes)
    assert max(str(each).count("idx=") for each in outcomes) <= 3  # a message is no place for 256 reasons
    grown = (await counted(triton)) - before
    assert (failures(grown, "BACKEND"), grown.total()) == (6, 7)


async def test_the_alert_moves_on_real_failures(triton: RunningTriton, backend: TritonBackend, tmp_path: Path) -> None:
    """Two requests of a batch fail, and two alone: four of ten. Triton's own counters miss the former.

    What was counted is told to promtool as what happens every minute, with the rules that are shipped.
    """
    before = await counted(triton)
    batch = await behind(triton, backend, [0, 99, 1, 99, 2, 3, 0])
    _, *outcomes = await asyncio.gather(*batch, return_exceptions=True)
    assert [isinstance(each, InferenceFailed) for each in outcomes] == [False, True, False, True, False, False, False]
    for _ in range(2):
        with pytest.raises(InferenceFailed):
            await backend.infer("probe", probe_inputs(0, index=99), ["y"])
    after = await counted(triton)
    assert (failures(after - before, "BACKEND"), failures(after - before, "CANCELED")) == (4, 0)
    assert _firing(tmp_path, before, after) == "Triton fails 40% of the requests to probe"
    assert _firing(tmp_path, after, after) is None


async def test_requests_cancelled_while_they_wait_are_counted(triton: RunningTriton, backend: TritonBackend) -> None:
    before = await counted(triton)
    first, *waiting = await behind(triton, backend, [0, 0, 0])
    for each in waiting:
        each.cancel()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        while failures(grown := (await counted(triton)) - before, "CANCELED") < 3:  # noqa: ASYNC110 -- Triton counts
            await asyncio.sleep(0.1)
    assert (failures(grown, "CANCELED"), failures(grown, "BACKEND")) == (3, 0)


def _firing(folder: Path, before: Counter[str], after: Counter[str]) -> str | None:
    """What EarwitnessTritonFailing says where counters grow so each minute, None where it keeps still."""
    series = [
        {
            "series": name.replace("{", '{namespace="n", job="earwitness-triton", '),
            "values": f"{before[name]}+{count - before[name]}x20",
        }
        for name, count in after.items()
    ]
    still = {"eval_time": "15m", "alertname": "EarwitnessTritonFailing", "exp_alerts": []}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [still]}
    rules = str(ROOT / "deploy/prometheus/rules.yaml")
    file = folder / "failing.test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([tool("promtool"), "test", "rules", file], capture_output=True, text=True)
    found = re.search(r'summary="(Triton fails .*?)"', done.stdout + done.stderr)
    assert found or not done.returncode, done.stdout + done.stderr
    return found[1] if found else None
