"""What the export finds out about networks that are not ours, and how it refuses those that do not fit."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from earwitness.features import MelProfile
from earwitness.inference.metadata import UnitLabel
from earwitness.training.export import ExportError, UnsupportedOperator, export_bundle, verify
from earwitness.training.export.errors import FrozenGradient, NotRepeatable
from earwitness.training.export.forward_graphs import classifier_graph
from earwitness.training.export.layers import LayerSpec
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import Pair, make_pair
from earwitness.training.export.reference import Reference
from earwitness.training.export.repeatable import require_repeatable

BANDS, FRAMES, LATENT = 8, 12, 5
PROFILE = MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=8, excerpt_frames=12)


def dcgan() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(LATENT, 6, (4, 6), bias=False), nn.BatchNorm2d(6), nn.ReLU(True),
        nn.ConvTranspose2d(6, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip


def dense(*shape: int) -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 96), nn.Tanh(), nn.Unflatten(1, shape or (1, BANDS, FRAMES)))


def classifier(outputs: int = 2, *more: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(60, 7),
        nn.Dropout(), nn.GELU(), nn.Linear(7, outputs), *more,
    )  # fmt: skip


class Tutorial(nn.Module):
    """Functions between its layers, one activation for two of them, one block used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.probability = nn.Linear(4, 3)
        self.output = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        x = self.twice(self.twice(x)).mean((2, 3))
        return self.output(self.act(self.probability(x))).reshape(-1, 1)


def specs(pair: Pair) -> list[tuple[str, str]]:
    return [(spec.name, spec.path) for spec in pair.specs]


def test_layers_are_found_with_what_follows_them() -> None:
    pair = make_pair(dense(), classifier(), None)
    assert specs(pair) == [("conv2d_0", "2"), ("linear_5", "5"), ("linear_8", "8")]
    assert [layer.kind for layer in pair.layers] == ["conv", "dense", "output"]
    assert [layer.unit_count for layer in pair.layers] == [4, 7, 2]


def test_layers_of_a_network_with_functions_between() -> None:
    pair = make_pair(dense(), Tutorial(), None)
    assert specs(pair) == [
        ("conv", "conv"), ("probability_layer", "probability"), ("output_layer", "output"), ("output", ""),
    ]  # fmt: skip


def test_layers_may_still_be_named() -> None:
    assert specs(make_pair(dense(), classifier(), [LayerSpec("first", "0")])) == [("first", "0"), ("output", "")]


@pytest.mark.parametrize("generator", [dcgan(), dense()], ids=["square latent", "flat latent"])
def test_latent_size_and_form(generator: nn.Module) -> None:
    pair = make_pair(generator, classifier(), None)
    assert pair.latent_size == LATENT
    assert pair.spectrogram_shape == (BANDS, FRAMES)
    assert pair.generator(torch.zeros(3, LATENT)).shape == (3, 1, BANDS, FRAMES)


def test_latent_size_by_attribute() -> None:
    generator = dense()
    generator.nz = LATENT
    assert make_pair(generator, classifier(), None).latent_size == LATENT
    with pytest.raises(ExportError, match="latent_size: got None"):
        make_pair(nn.Tanh(), classifier(), None)


def test_channel_axis_is_fitted_either_way() -> None:
    over_time = nn.Sequential(nn.Conv1d(BANDS, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(30, 2))
    assert not make_pair(dense(), over_time, None).has_channel
    assert make_pair(dense(BANDS, FRAMES), classifier(), None).has_channel


def test_words_are_labels(tmp_path: Path) -> None:
    def labels(outputs: int, *given: str | UnitLabel) -> list[tuple[int, str, str]]:
        torch.manual_seed(0)
        exported = export_bundle(
            dcgan(),
            classifier(outputs),
            name="own",
            features=PROFILE,
            labels=given,
            repository=str(tmp_path),
            replace=True,
        )
        return [(label.unit, label.maximise, label.minimise) for label in exported.metadata.labels]

    assert labels(2, "a", "b") == [(0, "a", "b"), (1, "b", "a")]
    assert labels(3, "a", "b") == [(0, "a", "not a"), (1, "b", "not b")]
    assert labels(1, UnitLabel(0, "a", "b")) == [(0, "a", "b")]


def spoiled(network: nn.Module, name: str, value: float) -> nn.Module:
    with torch.no_grad():
        network.get_parameter(name).view(-1)[:2] = value
    return network


class Failing(nn.Module):
    def __init__(self, result: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> object:
        return self.result(x)


@pytest.mark.parametrize(
    ("generator", "judge", "said"),
    [
        (dense(), spoiled(classifier(), "0.weight", float("nan")), "classifier: '0.weight' holds 2 NaN or infinite"),
        (spoiled(dense(), "0.bias", float("inf")), classifier(), "generator: '0.bias' holds 2 NaN or infinite"),
        (dense(), nn.Sequential(nn.Flatten(), nn.Linear(95, 2)),
         r"classifier: .* \[2, 1, 8, 12\]; layer '1' \(Linear\) failed.*: mat1 and mat2"),
        (dense(1, 6, 16), classifier(), r"features: .* \[8, 12\] bands × frames, the generator returns \[6, 16\]"),
        (dense(2, 6, 8), classifier(), r"z \[2, 5\] became \[2, 2, 6, 8\], expected \[2, 1, bands, frames\]"),
        (dense(1, 4, 24), nn.Sequential(nn.Flatten(), nn.Linear(96, 2)), r"own@1.*\[8, 12\].*returns \[4, 24\]"),
        (nn.Sequential(nn.Linear(5, 9), nn.Linear(8, 96)), classifier(), r"generator: .*layer '1' \(Linear\) failed"),
        (dense(), classifier(2, nn.Unflatten(1, (1, 2))), r"became \[2, 1, 2\], expected \[2, outputs\]"),
        (dense(), classifier(2, Failing(lambda x: (x, x))), "classifier: returns tuple of 0 .*--take 0"),
        (dense(), classifier(2, Failing(lambda x: (-x.abs()).log())), "classifier: returns NaN or infinite values"),
        (dense(), nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), "'1.weight' has no shape yet"),
        (dense(), classifier(2, Failing(lambda x: x @ torch.eye(2))), r"computed in float64.*layer '9' \(Failing\)"),
        (dense(), Failing(lambda x: x.flatten(1)[:, :2]), "layers: found no convolution, recurrent or dense layer"),
    ],
)  # fmt: skip
def test_refusals_name_what_does_not_fit(tmp_path: Path, generator: nn.Module, judge: nn.Module, said: str) -> None:
    repository = tmp_path / "models"
    with pytest.raises(ExportError) as refused:
        export_bundle(generator, judge, name="own", features=PROFILE, repository=repository)
    assert re.search(said, " ".join(str(refused.value).split())), str(refused.value)
    assert not repository.exists()


@pytest.mark.parametrize(
    ("generator", "judge", "said"),
    [
        (dense(), classifier(2, Failing(lambda x: functional.dropout(x, 0.5))),
         r"classifier, layer '9' \(Failing\): operator aten.bernoulli\S* draws random numbers in eval mode too"),
        (dense(), classifier(2, Failing(lambda x: x + torch.randn_like(x))),
         "operator aten.randn_like.default draws random numbers"),
        (nn.Sequential(Failing(lambda z: functional.dropout(z, 0.5)), dense()), classifier(),
         r"generator, layer '0' \(Failing\): operator aten.bernoulli"),
        (dense(), classifier(2, Failing(lambda x: functional.batch_norm(x, None, None, training=True))),
         "operator aten.native_batch_norm.default makes a row's result depend on the other rows"),
        (dense(), nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(),
                                nn.Linear(240, 2)),
         r"classifier, layer '1' \(BatchNorm2d\): operator aten.native_batch_norm"),
        (dense(), classifier(2, Failing(lambda x: x - x.mean(0))), "aten.mean.dim makes a row's result depend"),
    ],
)  # fmt: skip
def test_what_is_not_repeatable_is_named(generator: nn.Module, judge: nn.Module, said: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(NotRepeatable, match=said):
        require_repeatable(make_pair(generator, judge, None))


def test_what_is_repeatable_passes() -> None:
    require_repeatable(make_pair(dcgan(), Tutorial(), None))


@pytest.mark.parametrize(
    "wrap", [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm]
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated:FutureWarning")
def test_normalised_weights_are_folded_in_the_copy(wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(wrap(nn.Conv2d(1, 4, 3)), nn.ReLU(), nn.Flatten(), wrap(nn.Linear(240, 2)))
    x = torch.randn(3, 1, BANDS, FRAMES)
    network.train()(x)  # so that a weight is the result of a training step's pass
    names = list(network.state_dict())
    pair = make_pair(dense(), network, None)
    assert [layer.name for layer in pair.layers] == ["conv2d_0", "linear_3"]
    assert sorted(pair.classifier.state_dict()) == ["0.bias", "0.weight", "3.bias", "3.weight"]
    assert list(network.state_dict()) == names
    torch.testing.assert_close(pair.classifier(x), network.eval()(x))


def test_a_cast_to_float32_keeps_the_reference_exact() -> None:
    torch.manual_seed(0)
    ends = [nn.Flatten(), nn.Linear(BANDS * FRAMES, 2)]
    z = np.random.default_rng(0).standard_normal((3, LATENT))
    plain = Reference(make_pair(dense(), nn.Sequential(*ends), None)).units(z)
    for cast in (Tensor.float, lambda x: x.to(torch.float32), lambda x: x.to(dtype=torch.float32)):
        torch.manual_seed(0)
        reference = Reference(make_pair(dense(), nn.Sequential(Failing(cast), *ends), None))
        reference.require_computable()
        assert reference.units(z).shape == plain.shape
        assert reference.units(z).dtype == np.float64


def test_an_operator_that_means_something_else_in_onnx_is_named() -> None:
    """torch leaves out a window that would begin beyond the end, ONNX does not."""
    pooled = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, stride=3, ceil_mode=True), nn.Flatten(), nn.Linear(32, 2)
    )
    pair = make_pair(dense(), pooled, None)
    names = ["probability", *(layer.name for layer in pair.layers)]
    with pytest.raises(
        UnsupportedOperator, match=r"operator MaxPool .* ONNX: Inferred shape and existing shape differ"
    ):
        to_onnx(classifier_graph(pair), ["spectrogram"], names)


def test_a_classifier_of_more_layers_than_rows_is_looked_at_in_every_one() -> None:
    torch.manual_seed(0)
    stages = [stage for _ in range(60) for stage in (nn.Linear(8, 8), nn.Softsign())]
    for stage in stages[::2]:
        nn.init.orthogonal_(stage.weight)
    deep = nn.Sequential(nn.Flatten(), nn.Linear(BANDS * FRAMES, 8), *stages, nn.Linear(8, 2))
    pair = make_pair(dense(), deep, None)
    assert len(pair.layers) == 62 > verify.BATCHES[-1]
    check = verify._Check(pair, {}, np.random.default_rng(0))
    check.torch_itself()
    assert check.batch_sizes() == (1, 3, 124)


class Normalising(nn.Module):
    """As many front ends do it; nobody asks for the gradient of the input in training, where this works."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        x -= x.mean((2, 3), keepdim=True)
        x /= x.std((2, 3), keepdim=True) + 1e-5
        return self.body(x)


def test_a_classifier_may_write_into_its_input(tmp_path: Path) -> None:
    torch.manual_seed(0)
    exported = export_bundle(
        dense(), Normalising(classifier()), name="own", features=PROFILE, repository=tmp_path, layers={"fc": "body.5"}
    )
    assert exported.parity.gradient < verify.GRADIENT_TOLERANCE


class Pooled(nn.Module):
    """A convolution, its normalisation, and the spatial mean that a dense layer sees."""

    def __init__(self, norm: nn.Module, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), norm, nn.Linear(4, 2)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.activation(self.norm(self.conv(x))).mean((2, 3)))


def test_an_instance_norm_at_its_end_is_no_part_of_a_layer() -> None:
    """A channel's spatial mean behind it is the same for every sound; behind batch norm it is not."""
    assert specs(make_pair(dense(), Pooled(nn.InstanceNorm2d(4), torch.relu), None)) == [("conv", "conv"), ("fc", "fc")]
    assert specs(make_pair(dense(), Pooled(nn.BatchNorm2d(4), torch.relu), None))[0] == ("conv", "norm")


@pytest.mark.parametrize(
    ("norm", "activation", "layers", "still"),
    [
        (nn.InstanceNorm2d(4), torch.relu, {"normed": "norm"}, "normed"),
        (nn.GroupNorm(4, 4), torch.relu, {"normed": "norm"}, "normed"),
        (nn.InstanceNorm2d(4), torch.clone, {"conv": "conv", "last": "fc"}, "last"),
    ],
)
def test_units_that_never_move_are_named(
    norm: nn.Module, activation: Callable[[Tensor], Tensor], layers: dict[str, str], still: str
) -> None:
    torch.manual_seed(0)
    check = verify._Check(make_pair(dense(), Pooled(norm, activation), layers), {}, np.random.default_rng(0))
    with pytest.raises(FrozenGradient, match=f"layer '{still}': its units are the same .* instance norm"):
        check.torch_itself()


def test_a_layer_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'fc' is module path 'head', which the classifier has not; it has 0, 1, 2"):
        make_pair(dense(), classifier(), {"fc": "head"})
    deep = nn.Sequential(*(nn.Identity() for _ in range(30)), nn.Flatten(), nn.Linear(96, 2))
    with pytest.raises(ExportError) as refused:
        make_pair(dense(), deep, {"fc": "310"})
    assert "31" in str(refused.value)
    assert "and 20 more" in str(refused.value)
    with pytest.raises(ExportError, match="name at least one submodule"):
        make_pair(dense(), classifier(), {})
