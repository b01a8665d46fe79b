"""Updates of the replay detectors on a CPU: `bench_replay_updates.py [--networks NAME ...] [--json PATH]`.

Processor time of a window's loss and gradient on one thread, in turns: the batch at once as torch computes it unasked
(channels first, torch.maximum), the same in the pieces of `add_gradient`, and as training does it (in pieces, channels
last, max feature maps by rectified differences). Processor time,
for a busy machine tells nearly the same as an idle one.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from earwitness.features import get_profile
from earwitness.training.networks.replay import NETWORKS, MaxFeatureMap, ReplayNetwork
from earwitness.training.train_replay import add_gradient
from tests.helpers.machine import machine

BATCH = 32


@dataclass(frozen=True)
class Result:
    """Medians over the turns, in seconds of processor time per window."""

    network: str
    at_once_s: float
    in_pieces_s: float
    as_trained_s: float

    @property
    def times(self) -> float:
        """How many times as fast training is as the batch at once."""
        return self.at_once_s / self.as_trained_s


def at_once(network: ReplayNetwork, windows: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the batch as a whole."""
    loss = cross_entropy(network(windows[:, None]), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def measure(name: str, turns: int) -> Result:
    """One network at its own front end."""
    shape = get_profile(NETWORKS[name].profile_name).excerpt_shape
    plain, trained = (ReplayNetwork(name, *shape, dropout=0.0).train() for _ in range(2))
    trained.load_state_dict(plain.state_dict())
    trained.to(memory_format=torch.channels_last)
    for module in plain.modules():
        if isinstance(module, MaxFeatureMap):
            module.eval()  # torch.maximum
    windows, labels = torch.randn(BATCH, *shape), torch.arange(BATCH) % 2
    ways: dict[str, tuple[ReplayNetwork, Callable[[ReplayNetwork, Tensor, Tensor], Tensor]]] = {
        "at_once_s": (plain, at_once),
        "in_pieces_s": (plain, add_gradient),
        "as_trained_s": (trained, add_gradient),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    losses = set[float]()
    for turn in range(turns + 1):
        for way, (network, step) in ways.items():
            network.zero_grad()
            began = time.process_time()
            losses.add(round(step(network, windows, labels).item(), 4))
            if turn:  # the first warms up
                seconds[way].append((time.process_time() - began) / BATCH)
    assert len(losses) == 1, f"{name}: the ways differ: {losses}"
    return Result(name, **{way: statistics.median(each) for way, each in seconds.items()})


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--turns", type=int, default=3, help="measured batches of each way (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures and the machine's description here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| network | at once | in pieces | as trained | times as fast |\n|---|---:|---:|---:|---:|")
    results = []
    for name in options.networks:
        results.append(found := measure(name, options.turns))
        figures = f"{found.at_once_s:.4f} | {found.in_pieces_s:.4f} | {found.as_trained_s:.4f} | {found.times:.1f}"
        print(f"| `{name}` | {figures} |", flush=True)
    if options.json:
        body = {"machine": machine(), "results": [asdict(each) for each in results]}
        options.json.write_text(json.dumps(body, indent=2) + "\n")


if __name__ == "__main__":
    main()
