"""Row-steps per second through the whole service beside PyTorch: `bench_row_steps.py [--json PATH]`.

One row-step is generator, detector and the gradient back to the latent, for one row. The sides take turns in one run on
one machine, on the same networks (untrained: weights do not change the time):

- service: gRPC → explainer → Triton, what a caller of `Explain` waits for;
- graph: the same ONNX graph in process, without any service;
- eager N: a PyTorch loop with autograd and Adam, N rows at a time. At 1 it is how the paper's authors work.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from earwitness.cli.stack import Ports, Stack, StackSettings
from earwitness.client import ExplainerClient, Objective, Search, Settings
from earwitness.explainer.optimisers import first_latent
from earwitness.features import get_profile
from earwitness.inference.local import LocalBackend
from earwitness.training.export import export_bundle
from earwitness.training.networks import Generator, SVDNet
from earwitness.training.run_folder import keep_freed_memory
from tests.helpers.machine import machine

NAME, LAYER, RATE, PRIOR = "bench", "fc9", 0.01, 0.001
TARGETS = {"eager": 2.0, "eager 1": 2.5, "graph": 0.95}
"""How many times as fast the service is to be: as PyTorch's best batch, as its batch 1, as the bare graph."""


@dataclass(frozen=True)
class Figure:
    """Row-steps per second of one side: median over the turns, and (fastest - slowest) / median."""

    side: str
    median: float
    spread: float


def export(repository: Path) -> tuple[Generator, SVDNet]:
    """The shipped layout with random weights, served as `bench`."""
    generator, classifier = Generator().eval(), SVDNet().eval()
    for network in (generator, classifier):
        network.initialise(torch.Generator().manual_seed(0))
        network.requires_grad_(False)
    export_bundle(
        generator, classifier, name=NAME, layers={layer: layer for layer in SVDNet.layer_names},
        features=get_profile("log-mel-80@1").to_dict(), labels=[], training_data="nothing", repository=repository,
    )  # fmt: skip
    return generator, classifier


def eager(generator: Generator, classifier: SVDNet, rows: int, row_steps: int) -> float:
    """Row-steps per second of the loop that a user of PyTorch would write."""
    z = torch.from_numpy(np.stack([first_latent(row, generator.latent_size) for row in range(rows)]))
    z.requires_grad_(True)
    optimiser = torch.optim.Adam([z], lr=RATE)
    steps = max(1, row_steps // rows)
    began = time.perf_counter()
    for _ in range(steps):
        optimiser.zero_grad()
        objective = classifier(generator(z))[:, 0] - PRIOR * z.square().sum(1)
        (-objective.sum()).backward()
        optimiser.step()
    return rows * steps / (time.perf_counter() - began)


async def through_service(explainer: ExplainerClient, rows: int, steps: int) -> float:
    """Row-steps per second as the caller's clock sees them."""
    settings = Settings(optimiser="adam", learning_rate=RATE, prior_weight=PRIOR, steps=steps)
    search = Search.of(NAME, Objective(LAYER, unit=0), row_count=rows, settings=settings)
    began = time.perf_counter()
    result = await explainer.explain(search)
    return result.summary.row_step_count / (time.perf_counter() - began)


async def graph(backend: LocalBackend, rows: int, steps: int, unit_count: int) -> float:
    """Row-steps per second of the search graph alone."""
    z = np.stack([first_latent(row, 128) for row in range(rows)])
    weights = np.zeros((rows, unit_count), np.float32)
    weights[:, -1] = 1.0
    inputs = {"z": z, "unit_weights": weights, "prior_weight": np.full((rows, 1), PRIOR, np.float32)}
    began = time.perf_counter()
    for _ in range(steps):
        await backend.infer(f"{NAME}_search", inputs, ["activation", "objective", "gradient"])
    return rows * steps / (time.perf_counter() - began)


async def agree(explainer: ExplainerClient, generator: Generator, classifier: SVDNet) -> float:
    """Worst relative difference between the activations that the service reports and torch's of the same latents."""
    search = Search.of(NAME, Objective(LAYER, unit=0), row_count=4, settings=Settings(steps=5))
    result = await explainer.explain(search)
    latents = torch.from_numpy(np.stack([each.latent for each in result.explanations]))
    expected = classifier(generator(latents))[:, 0].numpy()
    return float(np.abs(result.activations() / expected - 1).max())


async def measure(rows: int, steps: int, pairs: int) -> tuple[list[Figure], float, str]:
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="earwitness-bench-") as work:
        repository = Path(work, "models")
        generator, classifier = export(repository)
        settings = StackSettings(repository, Path(work, "data"), ports=Ports(0, 0, 0, 0, 0, 0))
        async with Stack(settings) as stack, ExplainerClient(stack.endpoints.explainer) as explainer:
            backend = LocalBackend(repository)
            (bundle,) = await backend.bundles()
            difference = await agree(explainer, generator, classifier)
            sides: dict[str, Callable[[], Awaitable[float]]] = {
                "service": lambda: through_service(explainer, rows, steps),
                "graph": lambda: graph(backend, rows, steps, bundle.unit_count),
            }
            for batch in sorted({1, 8, rows}):
                sides[f"eager {batch}"] = lambda batch=batch: asyncio.to_thread(
                    eager, generator, classifier, batch, rows * steps
                )
            seen: dict[str, list[float]] = {side: [] for side in sides}
            for turn in range(pairs + 1):
                for side, run in sides.items():
                    speed = await run()
                    if turn:  # the first turn warms up
                        seen[side].append(speed)
            await backend.close()
            described = stack.endpoints.backend
    figures = [
        Figure(side, statistics.median(speeds), (max(speeds) - min(speeds)) / statistics.median(speeds))
        for side, speeds in seen.items()
    ]
    return figures, difference, described


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=50, help="rows of a search (default: 50)")
    parser.add_argument("--steps", type=int, default=10, help="steps of a search (default: 10)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of every side, after one to warm up (default: 5)")
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    figures, difference, backend = asyncio.run(measure(options.rows, options.steps, options.pairs))
    speeds = {figure.side: figure.median for figure in figures}
    best = max((side for side in speeds if side.startswith("eager")), key=speeds.__getitem__)
    print(f"{options.rows} rows, {options.steps} steps, {backend}; activations differ from torch by {difference:.1e}")
    print("side        row-steps/s   spread   ms per row-step")
    for figure in figures:
        print(f"{figure.side:10} {figure.median:12.1f} {figure.spread:8.0%} {1e3 / figure.median:17.1f}")
    ratios = {name: speeds["service"] / speeds[best if name == "eager" else name] for name in TARGETS}
    for name, ratio in ratios.items():
        against = f"PyTorch's best batch ({best})" if name == "eager" else name
        print(f"service / {against}: {ratio:.2f} (target {TARGETS[name]}){'' if ratio >= TARGETS[name] else ' MISSED'}")
    if options.json:
        body = {
            "machine": machine(("torch",)) | {"torch_threads": torch.get_num_threads()},
            "backend": backend, "rows": options.rows, "steps": options.steps,
            "difference": difference, "figures": [asdict(figure) for figure in figures], "ratios": ratios,
        }  # fmt: skip
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
