"""The replay networks: the table's shapes, their sizes, named layers, seeds, and what is refused."""

from importlib.resources import files
from math import prod

import pytest
import torch
from torch import Tensor, nn

from earwitness.errors import InvalidArgument
from earwitness.features import PROFILES
from earwitness.training.networks.replay import (
    ACTIVATIONS,
    LABELS,
    NETWORKS,
    Activation,
    MaxFeatureMap,
    ReplayNetwork,
    log_odds,
    parameter_table,
)

SHAPES = {
    "stc_lcnn": {
        "conv1": (16, 1025, 400), "pool2": (16, 512, 200), "nin3": (16, 512, 200), "conv4": (24, 512, 200),
        "pool5": (24, 256, 100), "nin6": (24, 256, 100), "conv7": (32, 256, 100), "pool8": (32, 128, 50),
        "nin9": (32, 128, 50), "conv10": (16, 128, 50), "pool11": (16, 64, 25), "nin12": (16, 64, 25),
        "conv13": (16, 64, 25), "pool14": (16, 32, 12), "fc15": (32,), "fc16": (2,),
    },
    "pindrop": {
        "conv1": (64, 1, 98), "conv2": (64, 1, 98), "conv3": (64, 1, 98), "pool4": (64, 1, 1), "fc5": (128,),
        "fc6": (128,), "fc7": (128,), "fc8": (2,),
    },
    "bulbul": {
        "conv1": (16, 127, 100), "pool2": (16, 42, 33), "conv3": (16, 40, 33), "pool4": (16, 13, 11),
        "conv5": (16, 13, 11), "pool6": (16, 13, 3), "conv7": (16, 13, 3), "pool8": (16, 13, 1), "fc9": (256,),
        "fc10": (32,), "fc11": (2,),
    },
    "sparrow": {
        "conv1": (32, 127, 100), "conv2": (32, 125, 100), "pool3": (32, 41, 33), "conv4": (32, 39, 33),
        "conv5": (32, 37, 33), "conv6": (64, 18, 33), "pool7": (64, 6, 11), "conv8": (256, 6, 3),
        "conv9": (64, 6, 3), "conv10": (16, 6, 3), "conv11": (2,),
    },
    "compact": {
        "conv1": (8, 248, 98), "pool2": (8, 124, 49), "conv3": (8, 115, 47), "pool4": (8, 57, 23),
        "conv5": (8, 48, 21), "pool6": (8, 24, 10), "fc7": (128,), "fc8": (2,),
    },
}  # fmt: skip
"""Every layer's output as (channels, bands, frames) or (units,): the paper's table, its axes exchanged."""

KERNELS = {
    "stc_lcnn": [(5, 5), *[(1, 1), (3, 3)] * 4],
    "pindrop": [(257, 3), (1, 3), (1, 3)],
    "bulbul": [(3, 3), (3, 3), (1, 3), (1, 3)],
    "sparrow": [(3, 3)] * 4 + [(20, 3), (1, 9), (1, 1), (1, 1), (1, 1)],
    "compact": [(10, 3)] * 3,
}


def built(name: str, activation: Activation | None = None, seed: int = 0, dropout: float = 0.5) -> ReplayNetwork:
    shape = PROFILES[NETWORKS[name].profile_name].excerpt_shape
    network = ReplayNetwork(name, *shape, activation, dropout).eval()
    network.initialise(torch.Generator().manual_seed(seed))
    return network


def layer_outputs(network: ReplayNetwork, x: Tensor) -> dict[str, Tensor]:
    outputs = dict[str, Tensor]()
    for name in network.layer_names:
        getattr(network, name).register_forward_hook(
            lambda module, given, output, name=name: outputs.__setitem__(name, output)
        )
    with torch.no_grad():
        assert network(x) is outputs[network.layer_names[-1]]
    return outputs


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_has_the_tables_shape_with_either_nonlinearity(name: str, activation: Activation) -> None:
    network = built(name, activation)
    shape = PROFILES[NETWORKS[name].profile_name].excerpt_shape
    outputs = layer_outputs(network, torch.zeros(1, 1, *shape))
    assert {layer: tuple(output.shape[1:]) for layer, output in outputs.items()} == SHAPES[name]
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    assert [each.kernel_size for each in convolutions] == KERNELS[name]
    hidden = [layer for layer in network.layer_names[:-1] if not layer.startswith("pool")]
    used = [each for each in network.modules() if isinstance(each, MaxFeatureMap | nn.ELU)]
    assert [type(each) for each in used] == [MaxFeatureMap if activation == "mfm" else nn.ELU] * len(hidden)


def test_sizes_of_the_paper_of_stc() -> None:
    """Lavrentyeva et al. 2017 give 371 thousand parameters for 864 bands and 400 frames."""
    assert sum(each.numel() for each in ReplayNetwork("stc_lcnn", 864, 400).parameters()) == 371_874


def test_sizes_by_hand() -> None:
    table = parameter_table()
    dense = 8 * 24 * 10
    assert table["compact"]["mfm"] == 16 * 31 + 2 * 16 * (8 * 30 + 1) + 256 * (dense + 1) + 2 * 129
    assert table["compact"]["elu"] == 8 * 31 + 2 * 8 * (8 * 30 + 1) + 128 * (dense + 1) + 2 * 129
    assert table["bulbul"]["elu"] == 160 + 16 * 145 + 2 * 16 * 49 + 256 * (16 * 13 + 1) + 32 * 257 + 2 * 33
    for name, shapes in SHAPES.items():
        assert sum(each.numel() for each in built(name).parameters()) == table[name][NETWORKS[name].activation]
        assert prod(next(iter(shapes.values()))) > 0


def test_the_readme_has_the_table_of_sizes() -> None:
    readme = files("earwitness.training.replay").joinpath("README.md").read_text(encoding="utf-8")
    for name, sizes in parameter_table().items():
        spec = NETWORKS[name]
        bands, frames = PROFILES[spec.profile_name].excerpt_shape
        front_end = f"`{spec.profile_name}` {bands} × {frames}"
        assert f"| `{name}` | {front_end} | {spec.activation} | {sizes['mfm']:,} | {sizes['elu']:,} |" in readme


def test_max_feature_map_keeps_the_larger_of_two_halves() -> None:
    x = torch.tensor([[1.0, -2.0, 5.0, 0.5, 3.0, 5.0]])
    assert MaxFeatureMap()(x).tolist() == MaxFeatureMap().eval()(x).tolist() == [[1.0, 3.0, 5.0]]
    assert MaxFeatureMap()(x[..., None, None].expand(1, 6, 2, 3)).shape == (1, 3, 2, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_seeds_labels_and_score(name: str) -> None:
    first, same, other = (built(name, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
    assert all(not value.any() for key, value in first.items() if key.endswith("bias"))
    assert LABELS == {"0": ("genuine", "spoof"), "1": ("spoof", "genuine")}
    torch.testing.assert_close(log_odds(torch.tensor([[2.0, -1.0]])), torch.tensor([3.0]))


def test_input_is_standardised_and_dropout_is_of_training_only() -> None:
    network = built("compact", dropout=0.3)
    x = torch.randn(2, 1, 257, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = network(x)
        torch.testing.assert_close(network(x), plain)
        network.standardise.set_statistics(torch.full((257,), 3.0), torch.full((257,), 2.0))
        torch.testing.assert_close(network(2 * x + 3), plain, rtol=1e-4, atol=1e-5)
        network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            assert not torch.equal(network(2 * x + 3), network(2 * x + 3))
    assert {each.p for each in network.modules() if isinstance(each, nn.Dropout)} == {0.3}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tiny", 257, 100), "network: got 'tiny', expected one of stc_lcnn, pindrop"),
        (("compact", 257, 100, "relu"), "activation: got 'relu', expected one of mfm, elu"),
        (("compact", 257, 100, None, 1.0), r"dropout: got 1\.0"),
        (("compact", 20, 100), r"got 20 × 100, of which layer conv3 leaves nothing \(5 × 49 come in\)"),
        (("sparrow", 80, 100), "layer pool7 leaves nothing"),
        (("bulbul", 129, 60), "layer pool8 leaves nothing"),
    ],
)
def test_refusals(arguments: tuple, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        ReplayNetwork(*arguments)
