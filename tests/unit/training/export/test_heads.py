"""The end of a classifier: logits are found before whatever makes probabilities of them, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from torch import Tensor, nn
from torch.nn import functional
from tritonclient.grpc import model_config_pb2

from earwitness.features import MelProfile
from earwitness.inference.metadata import BundleMetadata
from earwitness.training.export import ExportError, export_bundle
from earwitness.training.export.final_calls import FinalCalls
from earwitness.training.export.heads import Head, head_of
from earwitness.training.export.pair import make_pair

BANDS, FRAMES, LATENT = 8, 12, 5
PROFILE = MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=8, excerpt_frames=12)
End = Callable[[Tensor], Tensor]


def generator() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(LATENT, 96), nn.Tanh(), nn.Unflatten(1, (1, BANDS, FRAMES)))


class Ended(nn.Module):
    """A dense layer of `width` values, and what makes the outputs of them."""

    def __init__(self, width: int, end: End) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc = nn.Linear(BANDS * FRAMES, width)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.fc(x.flatten(1)))


def spectrograms(rows: int = 2) -> Tensor:
    return torch.randn(rows, 1, BANDS, FRAMES, generator=torch.Generator().manual_seed(2))


def shifted_softmax(t: Tensor) -> Tensor:
    e = (t - t.amax(1, keepdim=True)).exp()
    return e / e.sum(1, keepdim=True)


SIGMOIDS: dict[str, tuple[int, End]] = {
    "function": (1, torch.sigmoid),
    "several": (5, torch.sigmoid),
    "module": (2, nn.Sigmoid()),
    "expit": (3, torch.special.expit),
    "written out": (3, lambda t: 1 / (1 + torch.exp(-t))),
    "quotient of exponentials": (2, lambda t: t.exp() / (1 + t.exp())),
    "in place": (2, lambda t: t.sigmoid_()),
    "clamped": (2, lambda t: t.sigmoid().clamp(1e-4, 1 - 1e-4)),
    "logarithm": (2, functional.logsigmoid),
    "with axes of one": (2, lambda t: t.view(-1, 2, 1, 1).sigmoid().flatten(1)),
    "joined heads": (4, lambda t: torch.cat([t[:, :2].sigmoid(), t[:, 2:].sigmoid()], 1)),
    "hard": (2, functional.hardsigmoid),
}
SOFTMAXES: dict[str, End] = {
    "function": lambda t: functional.softmax(t, 1),
    "method over the last axis": lambda t: t.softmax(-1),
    "module": nn.Softmax(dim=1),
    "written out": shifted_softmax,
    "logarithm": lambda t: functional.log_softmax(t, 1),
    "module of the logarithm": nn.LogSoftmax(dim=1),
    "exponential of the logarithm": lambda t: functional.log_softmax(t, 1).exp(),
}


def read(network: nn.Module, head: Head, x: Tensor) -> tuple[Tensor, Tensor]:
    """Units and probability of a pass."""
    with FinalCalls() as calls:
        result = network(x)
    units = head.units(result, calls)
    served = head.served(result, units)
    assert served is not None
    return units, served


@pytest.mark.parametrize(("width", "end"), SIGMOIDS.values(), ids=SIGMOIDS)
def test_the_logits_before_a_sigmoid(width: int, end: End) -> None:
    network = Ended(width, end).eval()
    head = head_of(network, spectrograms())
    assert (head.output, head.probability) == ("logit", "sigmoid")
    x = spectrograms(7)
    units, served = read(network, head, x)
    logits = network.fc(x.flatten(1))
    torch.testing.assert_close(units, logits)
    hard = end is functional.hardsigmoid
    torch.testing.assert_close(
        served, functional.hardsigmoid(logits) if hard else logits.sigmoid(), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("end", SOFTMAXES.values(), ids=SOFTMAXES)
def test_the_logits_before_a_softmax(end: End) -> None:
    network = Ended(4, end).eval()
    head = head_of(network, spectrograms())
    assert (head.output, head.probability) == ("logit", "softmax")
    x = spectrograms(7)
    units, served = read(network, head, x)
    torch.testing.assert_close(units, network.fc(x.flatten(1)))
    torch.testing.assert_close(served, units.softmax(1))


@pytest.mark.parametrize(
    ("width", "end", "kind"),
    [
        (3, lambda t: 1 - torch.sigmoid(t), "sigmoid"),
        (2, lambda t: 0.5 * (1 + torch.tanh(t)), "sigmoid"),
        (2, lambda t: t.softmax(1)[:, 1:], "sigmoid"),
        (4, lambda t: t.softmax(1)[:, 1:], "sigmoid"),
        (1, lambda t: torch.cat([1 - t.sigmoid(), t.sigmoid()], 1), "softmax"),
        (4, lambda t: torch.cat([t[:, :2].softmax(1), t[:, 2:].sigmoid()], 1), "sigmoid"),
        (3, lambda t: functional.softmin(t, 1), "softmax"),
        (3, lambda t: (t / 3).softmax(1), "softmax"),
    ],
)
def test_logits_that_are_no_tensor_of_the_network_by_themselves(width: int, end: End, kind: str) -> None:
    """A sign, a factor, one class of a softmax, two classes of one sigmoid."""
    network = Ended(width, end).eval()
    head = head_of(network, spectrograms())
    assert (head.output, head.probability) == ("logit", kind)
    x = spectrograms(7)
    units, served = read(network, head, x)
    assert units.requires_grad
    torch.testing.assert_close(served, network(x))
    torch.testing.assert_close(units.sigmoid() if kind == "sigmoid" else units.softmax(1), network(x))


@pytest.mark.parametrize(
    ("width", "end", "found"),
    [
        (1, lambda t: t, ("logit", "sigmoid")),
        (3, lambda t: t, ("logit", "softmax")),
        (3, torch.relu, ("logit", "softmax")),
        (2, lambda t: 0.5 + 1e-3 * t, ("logit", "softmax")),
        (6, lambda t: t[:, :3] * t[:, 3:].sigmoid(), ("logit", "softmax")),
        (3, torch.tanh, ("logit", "none")),
        (12, lambda t: t.view(-1, 4, 3).sigmoid().mean(1), ("probability", "none")),
        (12, lambda t: (t.view(-1, 4, 3).sigmoid() * t.view(-1, 4, 3).softmax(1)).sum(1), ("probability", "none")),
        (6, lambda t: (t[:, :3].softmax(1) + t[:, 3:].softmax(1)) / 2, ("probability", "none")),
    ],
)
def test_where_there_are_no_logits_within(width: int, end: End, found: tuple[str, str]) -> None:
    head = head_of(Ended(width, end).eval(), spectrograms())
    assert (head.output, head.probability) == found
    assert not head.sources


def test_what_is_said_and_what_cannot_be() -> None:
    network, plain = Ended(3, torch.sigmoid).eval(), Ended(3, torch.clone).eval()
    assert head_of(network, spectrograms(), "probability") == Head("probability", "none")
    assert head_of(network, spectrograms(), "logit") == Head("logit", "softmax")
    assert head_of(plain, spectrograms(), None, "sigmoid") == Head("logit", "sigmoid")
    assert head_of(plain, spectrograms(), None, "none") == Head("logit", "none")
    with pytest.raises(ExportError, match="'softmax', but the classifier ends in a sigmoid itself"):
        head_of(network, spectrograms(), None, "softmax")
    with pytest.raises(ExportError, match="'sigmoid' is what makes probabilities of logits"):
        head_of(network, spectrograms(), "probability", "sigmoid")


def test_the_layer_of_the_logits_is_the_output_layer() -> None:
    for end in (nn.Sigmoid(), torch.special.expit):
        pair = make_pair(generator(), Ended(2, end), None)
        assert [(layer.name, layer.kind) for layer in pair.layers] == [("fc", "output")]
    named = make_pair(generator(), Ended(2, nn.Sigmoid()), {"p": "end"})
    assert [(layer.name, layer.kind) for layer in named.layers] == [("p", "dense"), ("output", "output")]


@pytest.mark.parametrize(
    ("width", "end", "said", "output", "probability"),
    [
        (5, torch.sigmoid, {}, "logit", "sigmoid"),
        (3, lambda t: t.softmax(1), {}, "logit", None),
        (3, torch.clone, {"probability": "sigmoid"}, "logit", "sigmoid"),
        (3, torch.clone, {"probability": "none"}, "logit", "none"),
        (2, torch.sigmoid, {"output": "probability"}, "probability", None),
        (8, lambda t: t.view(-1, 4, 2).sigmoid().mean(1), {}, "probability", None),
    ],
)
def test_a_bundle_says_and_serves_it(
    tmp_path: Path, width: int, end: End, said: dict[str, str], output: str, probability: str | None
) -> None:
    network = Ended(width, end).eval()
    exported = export_bundle(generator(), network, name="own", features=PROFILE, repository=tmp_path, **said)  # type: ignore[arg-type]
    assert exported.parity.gradient <= 1e-5
    config = text_format.Parse((tmp_path / "own_classifier/config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    told = BundleMetadata.from_parameters({key: each.string_value for key, each in config.parameters.items()})
    assert (told.output_kind, told.probability) == (output, probability)
    session = onnxruntime.InferenceSession(tmp_path / "own_classifier/1/model.onnx")
    names = [each.name for each in session.get_outputs()]
    assert names == [each.name for each in config.output]
    x = spectrograms(4)
    served = dict(zip(names, session.run(names, {"spectrogram": x[:, 0].numpy()}), strict=True))
    with torch.no_grad():
        logits, result = network.fc(x.flatten(1)), network(x)
    if told.probability_kind == "none" and output == "logit":
        assert "probability" not in served
    else:
        true = result.sigmoid() if said.get("probability") == "sigmoid" else result
        np.testing.assert_allclose(served["probability"], true, atol=1e-6)
    units = served[told.output_layer.name]
    np.testing.assert_allclose(units, result if output == "probability" else logits, atol=1e-5)


def test_the_same_weights_with_another_meaning_are_another_model(tmp_path: Path) -> None:
    def weights(**said: str) -> str:
        exported = export_bundle(
            generator(), Ended(3, torch.clone), name="own", features=PROFILE, repository=tmp_path, replace=True, **said
        )  # type: ignore[arg-type]
        return exported.metadata.weights_sha256

    usual = weights()
    assert usual == weights(probability="softmax")
    assert usual != weights(probability="sigmoid")
