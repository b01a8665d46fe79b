"""What is handed over as a network, the wraps around it, and refusals that say what to do."""

import re
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from earwitness.features import MelProfile
from earwitness.training.export import ExportError, Wraps, export_bundle
from earwitness.training.export.pair import Pair, make_pair
from earwitness.training.export.repeatable import require_repeatable
from earwitness.training.export.search_graph import search_graph
from tests.unit.training.export.exactness import BANDS, FRAMES, LATENT, dense

PROFILE = MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=8, excerpt_frames=12)


def judge(channels: int = 1) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(240, 2)).eval()


class Returning(nn.Module):
    """The judge, and something else of what it returned."""

    def __init__(self, end: Callable[[Tensor, Tensor], Any], before: Callable[[Tensor], Tensor] = torch.clone) -> None:
        super().__init__()
        self.judge, self.end, self.before = judge(), end, before

    def forward(self, x: Tensor) -> Any:
        return self.end(self.judge(self.before(x)), x)


class Frozen(nn.Module):
    """Its train() returns nothing, as of many that keep their batch norms frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = judge()

    def train(self, mode: bool = True) -> None:  # type: ignore[override]
        super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(x)


def made(classifier: object, generator: nn.Module | None = None, **more: Any) -> Pair:
    return make_pair(generator or dense(), classifier, None, profile=PROFILE, **more)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_wrappers_of_training_are_taken_off() -> None:
    expected = [(spec.name, spec.path) for spec in made(judge()).specs]
    for wrapped in (nn.DataParallel(judge()), torch.compile(judge()), nn.DataParallel(nn.DataParallel(judge()))):
        assert [(spec.name, spec.path) for spec in made(wrapped).specs] == expected
    assert made(Frozen()).classifier.training is False


class Unusual(nn.Module):
    def __init__(self, held: object) -> None:
        super().__init__()
        self.judge, self.held = judge(), held

    def forward(self, x: Tensor) -> Tensor:
        return self.judge(x)


class NoEval(nn.Module):
    def eval(self) -> nn.Module:
        raise NotImplementedError("frozen program")

    def forward(self, x: Tensor) -> Tensor:
        return x


GIVEN: list[tuple[Callable[[], object], str]] = [
    (lambda: "classifier.onnx", "classifier: got the path 'classifier.onnx', .* `earwitness export` takes files"),
    (lambda: Path("weights.pt"), r"got the path 'weights.pt', .* load_weights\(network, file\)"),
    (lambda: nn.Linear, r"got the class Linear, expected a network made of it: Linear\(\)"),
    (lambda: judge().state_dict(), "got a dict, as of weights, .* use load_weights"),
    (lambda: None, "got None, .* has to return it"),
    (lambda: lambda x: x, "got function, expected a torch.nn.Module; .* belong into the forward of a module"),
    (lambda: NoEval(), r"NoEval.eval\(\) fails \(NotImplementedError: frozen program\)"),
    (lambda: Unusual(open(__file__)), "Unusual cannot be copied .*; keep what is no weight and no module"),  # noqa: SIM115
]


@pytest.mark.parametrize(("given", "said"), GIVEN, ids=[said[:30] for _, said in GIVEN])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_is_no_network_of_torchs(tmp_path: Path, given: Callable[[], object], said: str) -> None:
    with pytest.raises(ExportError, match=said):
        export_bundle(dense(), given(), name="own", features=PROFILE, repository=tmp_path / "models")  # type: ignore[arg-type]
    assert not (tmp_path / "models").exists()


Named = namedtuple("Named", "logits hidden")
TAKES: list[tuple[Callable[[Tensor, Tensor], Any], str | int]] = [
    (lambda y, x: {"clipwise": y, "embedding": x}, "clipwise"),
    (lambda y, x: (x, y), 1),
    (lambda y, x: (x, {"out": y}), "1.out"),
    (lambda y, x: Named(y, x), "logits"),
]


@pytest.mark.parametrize(("end", "take"), TAKES, ids=[str(take) for _, take in TAKES])
def test_one_of_several_results(end: Callable[[Tensor, Tensor], Any], take: str | int) -> None:
    x = torch.randn(3, 1, BANDS, FRAMES)
    pair = made(Returning(end), wraps=Wraps(take=take))
    torch.testing.assert_close(pair.classify(pair.weights(), x)[pair.output_index], judge()(x))
    with pytest.raises(ExportError, match=r"classifier: returns \w+ of .*say which one it is, .*\(--take "):
        made(Returning(end))
    with pytest.raises(ExportError, match="take='logit' is none of its results; it returns"):
        made(Returning(end), wraps=Wraps(take="logit"))


def test_results_without_an_axis_for_one_output() -> None:
    for end in (lambda y, x: y[:, 0], lambda y, x: y[:, :1, None, None]):
        pair = made(Returning(end))
        assert pair.layers[pair.output_index].unit_count == 1


def test_swapped_axes_and_channels() -> None:
    x = torch.randn(3, 1, BANDS, FRAMES)
    over_time = nn.Sequential(nn.Flatten(1, 2), nn.Conv1d(FRAMES, 3, 3), nn.Flatten(), nn.Linear(18, 2))
    with pytest.raises(ExportError, match=r"time and bands are swapped; say swap_axes='classifier' \(--swap-axes"):
        made(over_time)
    pair = made(over_time, wraps=Wraps(swap_axes="classifier"))
    torch.testing.assert_close(pair.judge(pair.weights(), x)[0], over_time(x.transpose(2, 3)))

    turned = nn.Sequential(dense(), nn.Flatten(1), nn.Unflatten(1, (1, FRAMES, BANDS)))
    with pytest.raises(ExportError, match=r"generator: .* time and bands are swapped; say swap_axes='generator'"):
        made(judge(), turned)
    pair = made(judge(), turned, wraps=Wraps(swap_axes="generator"))
    z = torch.randn(3, LATENT)
    torch.testing.assert_close(pair.generate(pair.weights(), z), turned(z).transpose(2, 3))
    assert made(over_time, turned, wraps=Wraps(swap_axes="both")).spectrogram_shape == (BANDS, FRAMES)

    with pytest.raises(ExportError, match=r"It takes 3 channels; say channels=3 \(--channels 3\)"):
        made(judge(3))
    pair = made(judge(3), wraps=Wraps(channels=3))
    torch.testing.assert_close(pair.judge(pair.weights(), x)[0], judge(3)(x.expand(-1, 3, -1, -1)))


def test_wraps_are_exported_and_part_of_the_identity(tmp_path: Path) -> None:
    def export(wraps: Wraps) -> str:
        classifier = Returning(lambda y, x: {"a": y, "b": 2 * y})
        exported = export_bundle(
            dense(), classifier, name="own", features=PROFILE, repository=tmp_path, wraps=wraps, replace=True
        )
        assert exported.parity.gradient <= 1e-5
        return exported.metadata.weights_sha256

    assert export(Wraps(take="a")) != export(Wraps(take="b"))


SHAPES: list[tuple[nn.Module, nn.Module, str]] = [
    (nn.Sequential(nn.Linear(LATENT, 512)), judge(), r"generator: .* became \[2, 512\], which looks like waveforms"),
    (dense(1, 4, 24), judge(), r"features: profile 'own@1' .* the generator returns \[4, 24\]"),
    (dense(), nn.Sequential(nn.Conv1d(1, 4, 80), nn.Flatten(), nn.Linear(4, 2)),
     "classifier: does not take .* It looks as if it takes waveforms"),
    (dense(), Returning(lambda y, x: {}["missing"]), "classifier: .*it failed, at test_given.py:.*KeyError 'missing'$"),
    (dense(), Returning(lambda y, x: y[:, :, None].expand(-1, -1, 5)), r"expected \[2, outputs\]; where there is an"),
]  # fmt: skip


@pytest.mark.parametrize(("generator", "classifier", "said"), SHAPES)
def test_the_role_that_does_not_fit_is_named(generator: nn.Module, classifier: nn.Module, said: str) -> None:
    with pytest.raises(ExportError) as refused:
        made(classifier, generator)
    assert re.search(said, str(refused.value)), str(refused.value)


def each_row(x: Tensor) -> Tensor:
    return torch.stack([row * 2 for row in x])


def branching(x: Tensor) -> Tensor:
    return x * 2 if x.abs().sum() > -1 else x


def complex_numbers(x: Tensor) -> Tensor:
    return torch.fft.rfft(x, n=2 * FRAMES - 2, dim=-1).abs().tanh()


UNTRACEABLE: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (each_row, r"plain number of the batch's size.*, at test_given.py:\d+ \(return torch.stack"),
    (lambda x: x.view(int(x.shape[0]), 1, 8, 12), "plain number of the batch's size"),
    (branching, r"depends on values of the spectrogram.*, at test_given.py:\d+ \(return x \* 2 if"),
    (lambda x: x * float(x.detach()[0, 0, 0, 0] * 0 + 1), "depends on values of the spectrogram.* no .item"),
    (complex_numbers, "operator aten._fft_r2c.default in layer 'classifier' .* complex numbers.* two convolutions"),
    (lambda x: x + torch.rand(x.shape[0], 1, 1, 1, generator=torch.Generator().manual_seed(0)),
     "operator aten.rand.generator .* draws random numbers .* register_buffer"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "said"), UNTRACEABLE)
def test_what_no_graph_can_hold_is_said_in_the_users_words(before: Callable[[Tensor], Tensor], said: str) -> None:
    with pytest.raises(ExportError) as refused:
        search_graph(made(Returning(lambda y, x: y, before)))
    assert re.search(said, str(refused.value)), str(refused.value)


GENERATOR = np.random.default_rng(0)


def numpy_noise(x: Tensor) -> Tensor:
    return x + float(GENERATOR.random())


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (lambda x: x + 1e-6 * torch.randn_like(x), "aten.randn_like.default draws random numbers .* register_buffer"),
        (lambda x: x + torch.randn(x.shape[0], 1, 1, 1), "aten.randn.default draws random numbers"),
        (numpy_noise, "gives another result when the same is given again.* numpy"),
    ],
)
def test_randomness_however_small_is_named(before: Callable[[Tensor], Tensor], said: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ExportError, match=said):
        require_repeatable(made(Returning(lambda y, x: y, before)))
