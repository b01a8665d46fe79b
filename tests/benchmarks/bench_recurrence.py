"""Recurrent classifiers, exported and beside PyTorch: `bench_recurrence.py [--frames 10 50 250 1000] [--json PATH]`.

For every network: CPU-seconds of its export with all checks (`--unrolled`: of its search graph with a copy of the step
for every frame beside that, where PyTorch traces the layer itself), bytes of the search graph, and row-steps per second
of that graph as it is served and of an eager PyTorch loop, which take turns in one run with the same number of threads.
One row-step is generator, classifier and the gradient back to the latent, for one row; weights are random, and do not
change the time. The networks:

- `gru`, `lstm`: two layers in both directions, 128 units each, over the bands of every frame;
- `seld`: the CRNN of the DCASE baselines for localisation (task 3, 2020 to 2023): three blocks of 64 filters that pool
  time by 5, 1, 1 and bands by 4, 4, 2, and two layers of 128 GRU units in both directions, multiplied in halves;
- `seld-long`: the same without pooling over time, so that all frames reach the GRU;
- `desed`: the CRNN of the DCASE baselines for events (task 4, 2019 to 2024): seven blocks of 16 to 128 filters with
  gated linear units, two layers of 128 GRU units in both directions, and attention over time.
"""

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.features import MelProfile
from earwitness.inference.session import OnnxSession, SessionSettings
from earwitness.training.export import export_bundle, tracing
from earwitness.training.export.bundle import RUNTIME
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import make_pair
from earwitness.training.export.search_graph import INPUTS, OUTPUTS, search_graph
from tests.helpers.machine import machine

BANDS, LATENT, UNITS = 64, 64, 128


class Recurrent(nn.Module):
    """The last layer's mean over time, behind two recurrent layers in both directions."""

    def __init__(self, kind: Callable[..., nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent = kind(BANDS, UNITS, num_layers=2, bidirectional=True, batch_first=True)
        self.output = nn.Linear(2 * UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:
        sequence: Tensor = self.recurrent(x.squeeze(1).transpose(1, 2))[0]
        logits: Tensor = self.output(sequence.mean(1))
        return logits


class Seld(nn.Module):
    def __init__(self, time_pool: tuple[int, int, int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for inputs, frames, bands in zip((1, 64, 64), time_pool, (4, 4, 2), strict=True):
            blocks += [
                nn.Conv2d(inputs, 64, 3, padding=1),
                nn.BatchNorm2d(64),
                nn.ReLU(),
                nn.MaxPool2d((frames, bands)),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.gru = nn.GRU(2 * 64, UNITS, num_layers=2, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(UNITS, UNITS)
        self.output = nn.Linear(UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x.transpose(2, 3)).transpose(1, 2).flatten(2)
        x = torch.tanh(self.gru(x)[0])
        x = x[:, :, UNITS:] * x[:, :, :UNITS]
        logits: Tensor = self.output(self.dense(x)).mean(1)
        return logits


class Glu(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        lines: Tensor = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return lines * torch.sigmoid(x)


class Desed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        sizes = (1, 16, 32, 64, 128, 128, 128, 128)
        for block, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            pool = nn.AvgPool2d((2 if block < 2 else 1, 2 if block < 6 else 1))  # 64 bands become one
            norm = nn.BatchNorm2d(outputs, eps=0.001, momentum=0.99)
            blocks += [nn.Conv2d(inputs, outputs, 3, padding=1), norm, Glu(outputs), nn.Dropout(0.5), pool]
        self.blocks = nn.Sequential(*blocks)
        self.gru = nn.GRU(128, UNITS, num_layers=2, batch_first=True, bidirectional=True)
        self.output = nn.Linear(2 * UNITS, 10)
        self.attention = nn.Linear(2 * UNITS, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(self.blocks(x.transpose(2, 3)).squeeze(-1).transpose(1, 2))[0]
        logits: Tensor = (self.output(x) * torch.softmax(self.attention(x), dim=1)).sum(1)
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "gru": lambda: Recurrent(nn.GRU),
    "lstm": lambda: Recurrent(nn.LSTM),
    "seld": lambda: Seld((5, 1, 1)),
    "seld-long": lambda: Seld((1, 1, 1)),
    "desed": Desed,
}
TARGETS = {"export": 60.0, "time": 1.5}
"""CPU-seconds of an export, and how many times as long as PyTorch's a row-step may take."""


@dataclass(frozen=True)
class Figures:
    """Of one network. Row-steps per second are medians over the turns; `eager` by rows at a time."""

    network: str
    frames: int
    export_cpu_s: float
    unrolled_cpu_s: float | None
    search_bytes: int
    gradient_error: float
    graph: float
    unrolled: float | None
    eager: dict[int, float]


def generator(frames: int) -> nn.Module:
    """Bands and frames as a sum of products, so that it weighs little whatever the length."""
    return nn.Sequential(
        nn.Linear(LATENT, 8 * frames), nn.Tanh(), nn.Unflatten(1, (8, frames)), nn.Conv1d(8, BANDS, 1), nn.Tanh(),
        nn.Unflatten(1, (1, BANDS)),
    )  # fmt: skip


def normalised(judge: nn.Module, frames: int) -> nn.Module:
    """The network with statistics of random input, without which nothing of it reaches the end of deep layers."""
    for module in judge.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean of what is seen
    with torch.no_grad():
        judge(generator(frames)(torch.randn(8, LATENT)))
    return judge.eval()


def eager_speed(networks: tuple[nn.Module, nn.Module], rows: int, row_steps: int) -> float:
    """Row-steps per second of the loop that a user of PyTorch would write."""
    source, judge = networks
    z = torch.randn(rows, LATENT, requires_grad=True)
    optimiser = torch.optim.Adam([z], lr=0.01)
    steps = max(2, row_steps // rows)
    began = time.perf_counter()
    for _ in range(steps):
        optimiser.zero_grad()
        (-judge(source(z))[:, 0].sum()).backward()
        optimiser.step()
    return rows * steps / (time.perf_counter() - began)


def graph_speed(session: OnnxSession, rows: int, row_steps: int, unit_count: int) -> float:
    """Row-steps per second of a search graph."""
    z = np.random.default_rng(0).standard_normal((rows, LATENT)).astype(np.float32)
    weights = np.zeros((rows, unit_count), np.float32)
    weights[:, -1] = 1
    inputs = {"z": z, "unit_weights": weights, "prior_weight": np.zeros((rows, 1), np.float32)}
    steps = max(2, row_steps // rows)
    began = time.perf_counter()
    for _ in range(steps):
        session.run(inputs, ["activation", "gradient"])
    return rows * steps / (time.perf_counter() - began)


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def session_of(content: bytes, threads: int, micro_batch: str) -> OnnxSession:
    settings = SessionSettings.from_parameters(
        {**RUNTIME, "micro_batch": micro_batch, "intra_op_thread_count": str(threads)}
    )
    return OnnxSession(Path("bench", "1", "model.onnx"), settings, content=content)


def measure(name: str, frames: int, options: argparse.Namespace) -> Figures:
    """Exports one network and lets the sides take turns."""
    torch.manual_seed(0)
    networks = generator(frames).eval(), normalised(NETWORKS[name](), frames)
    for each in networks:
        each.requires_grad_(False)
    profile = MelProfile("bench-mel@1", sample_rate_hz=16_000, frame_length=512, hop_length=160, band_count=BANDS,
                         excerpt_frames=frames)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="earwitness-bench-") as repository:
        began = cpu_s()
        bundle = export_bundle(*networks, name="bench", features=profile, repository=repository)
        export_cpu_s = cpu_s() - began
        content = Path(repository, "bench_search", "1", "model.onnx").read_bytes()
    sides = {"graph": session_of(content, options.threads, options.micro_batch)}
    unrolled_cpu_s = None
    if frames in options.unrolled:
        began = cpu_s()
        with mock.patch.object(tracing, "in_one_piece", return_value=nullcontext()):
            unrolled = to_onnx(search_graph(make_pair(*networks, None, LATENT)), INPUTS, OUTPUTS)
        unrolled_cpu_s = cpu_s() - began
        sides["unrolled"] = session_of(unrolled.SerializeToString(), options.threads, options.micro_batch)
    turns: dict[str, list[float]] = {}
    for turn in range(options.pairs + 1):
        seen = {
            side: graph_speed(session, options.rows, options.row_steps, bundle.metadata.unit_count)
            for side, session in sides.items()
        }
        seen |= {str(rows): eager_speed(networks, rows, options.row_steps) for rows in options.eager}
        for side, speed in seen.items():
            turns.setdefault(side, []).extend([speed] if turn else [])  # the first turn warms up
    speeds = {side: statistics.median(each) for side, each in turns.items()}
    return Figures(
        name, frames, export_cpu_s, unrolled_cpu_s, len(content), bundle.parity.gradient, speeds["graph"],
        speeds.get("unrolled"), {rows: speeds[str(rows)] for rows in options.eager},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--frames", nargs="+", type=int, default=[10, 50, 250, 1000])
    parser.add_argument("--unrolled", nargs="*", type=int, default=[], help="frames to unroll as well")
    parser.add_argument("--threads", type=int, default=2, help="threads of either side (default: 2)")
    parser.add_argument("--rows", type=int, default=50, help="rows of a search (default: 50)")
    parser.add_argument("--eager", nargs="+", type=int, default=[1, 8, 50], help="rows at a time in PyTorch")
    parser.add_argument("--micro-batch", default=RUNTIME["micro_batch"], help="rows of one run of the graph")
    parser.add_argument("--row-steps", type=int, default=100, help="row-steps of a turn (default: 100)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of every side, after one to warm up (default: 5)")
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    all_figures = []
    print("network     frames  export CPU-s  (unrolled)     bytes  gradient   graph  (unrolled)  eager row-steps/s")
    for name in options.networks:
        for frames in options.frames:
            if name in ("seld", "desed", "seld-long") and frames < 50:
                continue  # less than one frame behind the pooling, or of no use
            figures = measure(name, frames, options)
            all_figures.append(figures)
            best = max(figures.eager.values())
            eager = " ".join(f"{rows}: {speed:.1f}" for rows, speed in figures.eager.items())
            slower = best / figures.graph
            print(
                f"{name:10} {frames:7} {figures.export_cpu_s:13.1f} {figures.unrolled_cpu_s or 0:11.1f} "
                f"{figures.search_bytes:10} {figures.gradient_error:9.0e} {figures.graph:7.1f} "
                f"{figures.unrolled or 0:11.1f}  {eager}; a row-step takes {slower:.2f} of the best"
                f"{'' if slower <= TARGETS['time'] else ' MISSED'}",
                flush=True,
            )
    if options.json:
        body = {
            "machine": machine(("torch",)) | {"torch_threads": options.threads},
            "rows": options.rows, "micro_batch": options.micro_batch, "figures": [asdict(each) for each in all_figures],
        }  # fmt: skip
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
