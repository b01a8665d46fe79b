"""State dicts in the forms that people save them in, and files that are none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from earwitness.training.checkpoint import CheckpointMeta, save_checkpoint
from earwitness.training.export import SourceError, load_weights
from earwitness.training.networks import SVDNet


def build(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.LazyLinear(2))


@pytest.fixture
def trained() -> nn.Sequential:
    network = build()
    network(torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    return network


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state_dict": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"model._orig_mod.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["bare", "checkpoint", "tutorial", "data parallel", "lightning and compiled"],
)
def test_forms(trained: nn.Sequential, tmp_path: Path, wrap: Callable[[object], object]) -> None:
    torch.save(wrap(trained.state_dict()), tmp_path / "weights.pt")
    loaded = load_weights(build(), tmp_path / "weights.pt")
    want = trained.state_dict()
    assert all(torch.equal(tensor, want[name]) for name, tensor in loaded.state_dict().items())


def test_a_network_that_has_the_prefix_keeps_it(tmp_path: Path) -> None:
    network = nn.ModuleDict({"model": nn.Linear(2, 2)})
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    load_weights(nn.ModuleDict({"model": nn.Linear(2, 2)}), tmp_path / "weights.pt")


def test_another_architecture_says_what_differs(trained: nn.Sequential, tmp_path: Path) -> None:
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(SourceError, match=r"0\.weight \(\[3, 1, 3, 3\] in the file, \[5, 1, 3, 3\] in the network\)"):
        load_weights(build(5), tmp_path / "weights.pt")
    other = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Linear(4, 4))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(SourceError) as refused:
        load_weights(other, tmp_path / "weights.pt")
    said = str(refused.value)
    assert "weights.pt: weights of another architecture than Sequential" in said
    assert "1.running_mean, 1.running_var, 1.num_batches_tracked and 2 more are not in the network" in said
    assert "1.weight ([3] in the file, [4, 4] in the network)" in said
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    with pytest.raises(SourceError, match="2 more are missing"):
        load_weights(nn.Sequential(nn.Conv2d(1, 3, 3), nn.LSTM(2, 2), nn.Linear(1, 1, bias=False)), _part(tmp_path))


def _part(folder: Path) -> Path:
    torch.save({"0.weight": torch.zeros(3, 1, 3, 3), "0.bias": torch.zeros(3)}, folder / "part.pt")
    return folder / "part.pt"


def test_files_that_hold_no_state_dict(trained: nn.Sequential, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    with pytest.raises(SourceError, match=r"weights\.pt: cannot be read: No such file"):
        load_weights(build(), file)
    file.write_bytes(b"no zip")
    with pytest.raises(SourceError, match=r"not a file of torch\.save"):
        load_weights(build(), file)
    torch.save(trained, file)
    with pytest.raises(SourceError, match=r"holds more than tensors.*torch\.save\(network\.state_dict\(\), file\)"):
        load_weights(build(), file)
    for body, kind in (([1, 2], "list"), ({"epoch": 3}, "a dict of epoch"), ({}, "dict"), (torch.zeros(3), "Tensor")):
        torch.save(body, file)
        with pytest.raises(SourceError, match=f"holds {kind}.*, expected a state dict"):
            load_weights(build(), file)


def test_a_checkpoint_of_ours_for_another_network(tmp_path: Path) -> None:
    network = SVDNet()
    save_checkpoint(tmp_path / "best.pt", network, CheckpointMeta("svdnet", {}, {}))
    with pytest.raises(SourceError, match="another architecture than Sequential"):
        load_weights(build(), tmp_path / "best.pt")
