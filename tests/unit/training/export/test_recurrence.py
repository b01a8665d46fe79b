"""Search graphs of networks with recurrent layers, against torch autograd in float64."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from earwitness.features import MelProfile
from earwitness.inference.session import OnnxSession, SessionSettings
from earwitness.training.export import ExportError, UnsupportedOperator, export_bundle
from earwitness.training.export.errors import NotRepeatable
from earwitness.training.export.forward_graphs import classifier_graph
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import make_pair
from earwitness.training.export.recurrence import operators
from earwitness.training.export.recurrence.calls import MOST_STEPS
from earwitness.training.export.reference import Reference
from earwitness.training.export.repeatable import require_repeatable
from earwitness.training.export.search_graph import INPUTS, OUTPUTS, search_graph
from tests.unit.training.export.networks import LATENT, Apply, Case, plain_generator
from tests.unit.training.export.recurrent_networks import BANDS, CASES, FRAMES, build, frames_of
from tests.unit.training.export.test_networks import Array, draw
from tests.unit.training.export.torch_side import answer, run, session_of


def search_model(case: Case) -> onnx.ModelProto:
    return to_onnx(
        search_graph(make_pair(case.generator, case.classifier, case.layers or None, LATENT)), INPUTS, OUTPUTS
    )


@cache
def exported(name: str) -> tuple[Case, onnxruntime.InferenceSession]:
    case = build(name)
    case.layers.update({} if case.layers else {"output": ""})
    return case, session_of(search_model(case).SerializeToString())


def ask(session: onnxruntime.InferenceSession, z: Array, weights: Array) -> dict[str, Array]:
    return run(session, z=z, unit_weights=weights, prior_weight=np.zeros((len(z), 1), np.float32))


@pytest.fixture(params=sorted(CASES))
def served(request: pytest.FixtureRequest) -> tuple[Case, onnxruntime.InferenceSession]:
    return exported(request.param)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_agrees_with_autograd(served: tuple[Case, onnxruntime.InferenceSession], batch: int) -> None:
    case, session = served
    z, weights = draw(case, batch, seed=batch)
    want, got = answer(case, z, weights), ask(session, z, weights)
    scale = np.abs(want.activation).max()
    np.testing.assert_allclose(got["activation"][:, 0], want.activation, rtol=1e-5, atol=1e-5 * scale)
    assert np.abs(got["gradient"] - want.gradient).max() <= 1e-5 * np.abs(want.gradient).max()


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_rows_do_not_meet(served: tuple[Case, onnxruntime.InferenceSession]) -> None:
    case, session = served
    z, weights = draw(case, 5, seed=11)
    together = ask(session, z, weights)
    for row in range(5):
        alone = ask(session, z[[row]], weights[[row]])
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][row], rtol=1e-5, atol=1e-6, err_msg=name)
    others, other_weights = draw(case, 5, seed=12)
    others[0], other_weights[0] = z[0], weights[0]
    for name, value in ask(session, others, other_weights).items():
        np.testing.assert_array_equal(value[0], together[name][0], err_msg=name)


def test_behind_a_block_that_writes_over_what_its_gradient_needs() -> None:
    def block(x: Tensor) -> Tensor:
        y = torch.relu(x)
        y += 0.5 * x
        return y

    torch.manual_seed(0)
    judge = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), Apply(block), nn.Flatten(1, 2),
        Apply(lambda x, gru, dense: dense(gru(x.transpose(1, 2))[0][:, 0]),
              nn.GRU(36, 4, bidirectional=True, batch_first=True), nn.Linear(8, 2)),
    )  # fmt: skip
    pair = make_pair(plain_generator(), judge, None, LATENT)
    assert pair.overwrites
    session = session_of(to_onnx(search_graph(pair), INPUTS, OUTPUTS).SerializeToString())
    rng = np.random.default_rng(0)
    z, weights = (rng.standard_normal((3, size)).astype(np.float32) for size in (LATENT, pair.unit_count))
    want = Reference(pair).truth(z, weights).gradient
    assert np.abs(ask(session, z, weights)["gradient"] - want).max() <= 1e-5 * np.abs(want).max()


def profile(frames: int) -> MelProfile:
    return MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=BANDS,
                      excerpt_frames=frames)  # fmt: skip


def long_generator(frames: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(LATENT, 2 * frames), nn.Tanh(), nn.Unflatten(1, (2, frames)), nn.Conv1d(2, BANDS, 1), nn.Tanh(),
        nn.Unflatten(1, (1, BANDS)),
    )  # fmt: skip


class Judge(nn.Module):
    """Two layers in both directions, and their mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(BANDS, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.output = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.recurrent(frames_of(x))[0].mean(1))
        return logits


def test_a_thousand_frames_are_exported_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = export_bundle(
        long_generator(1000), Judge(), name="own", features=profile(1000), repository=tmp_path, replace=True
    )
    assert bundle.parity.gradient <= 1e-5
    assert [(layer.name, layer.kind, layer.unit_count) for layer in bundle.metadata.layers] == [
        ("recurrent", "conv", 12), ("output", "output", 2),
    ]  # fmt: skip
    # No copy for every frame: the generator's weights are most of it.
    assert bundle.model_bytes["search"] < 150_000
    file = tmp_path / "own_search" / "1" / "model.onnx"
    session = OnnxSession(file, SessionSettings.from_parameters({"micro_batch": "1"}))
    z = np.random.default_rng(0).standard_normal((3, LATENT)).astype(np.float32)
    weights = np.eye(14, dtype=np.float32)[[3, 12, 13]]
    got = session.run({"z": z, "unit_weights": weights, "prior_weight": np.zeros((3, 1), np.float32)}, ["gradient"])
    session.close()
    assert np.isfinite(got["gradient"]).all()
    assert np.abs(got["gradient"]).max(1).min() > 0


def test_units_are_means_over_time() -> None:
    case = build("both_directions")
    pair = make_pair(case.generator, case.classifier, None, LATENT)
    assert [(layer.name, layer.kind, layer.unit_count) for layer in pair.layers[:1]] == [("parts_0", "conv", 8)]
    x = torch.randn(2, 1, BANDS, FRAMES)
    units = pair.classify(pair.weights(), x)[0]
    torch.testing.assert_close(units, case.classifier.get_submodule("parts.0")(frames_of(x))[0].mean(1))


def refusing(function: Callable[..., Tensor], *modules: nn.Module, frames: int = FRAMES) -> nn.Module:
    return nn.Sequential(Apply(function, *modules), nn.Linear(4, 2))


def packed(x: Tensor, gru: nn.Module) -> Any:
    lengths = torch.full((len(x),), FRAMES)
    return gru(nn.utils.rnn.pack_padded_sequence(frames_of(x), lengths, batch_first=True))[1][0]


def long_loop(x: Tensor, cell: nn.Module) -> Tensor:
    state = x.new_zeros(x.shape[0], 4)
    for _ in range(1 + MOST_STEPS // FRAMES):
        for frame in frames_of(x).unbind(1):
            state = cell(frame, state)
    return state


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        (refusing(packed, nn.GRU(BANDS, 4, batch_first=True)), "packed.*give (it|the layer) the padded tensor itself"),
        (refusing(long_loop, nn.GRUCell(BANDS, 4)),
         r"aten.gru_cell in layer 'classifier.0.parts.0'.*more than 64 of them.*nn.GRU.*take any length"),
    ],
    ids=["packed", "long loop"],
)  # fmt: skip
def test_what_is_not_served_says_what_is(judge: nn.Module, said: str) -> None:
    with pytest.raises(UnsupportedOperator, match=said):
        search_graph(make_pair(plain_generator(), judge, None, LATENT))


def test_time_and_batch_swapped_is_named() -> None:
    judge = refusing(lambda x, gru: gru(frames_of(x))[0][:, -1], nn.GRU(BANDS, 4))
    with pytest.raises(NotRepeatable, match=r"\(GRU\).*batch_first=True"):
        require_repeatable(make_pair(plain_generator(), judge, None, LATENT))


def test_nothing_is_written_of_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export_bundle(
            plain_generator(), refusing(long_loop, nn.GRUCell(BANDS, 4)), name="own", features=profile(FRAMES),
            repository=tmp_path / "models",
        )  # fmt: skip
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("directions", [1, 2])
def test_operators_agree_with_their_own_gradient(directions: int) -> None:
    """By finite differences in float64, every input of the forward operators that a latent can reach."""
    generator = torch.Generator().manual_seed(directions)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    cells: tuple[tuple[int, Callable[..., Any], tuple[Tensor, ...]], ...] = (
        (3, operators.gru, (random(directions, 3, 9), random(directions, 1, 3))),
        (4, operators.lstm, (random(directions, 3, 12),)),
        (1, lambda *args: operators.rnn(*args, False), (random(directions, 3, 3),)),
    )
    for gates, operator, constants in cells:
        states = [random(directions, 2, 3).requires_grad_() for _ in range(2 if gates == 4 else 1)]
        sequence = random(4, directions, 2, 3 * gates).requires_grad_()

        def states_seen(sequence: Tensor, *states: Tensor, run: Any = operator, more: Any = constants) -> Any:
            result = run(sequence, *states, *more)
            return (result[0], result[1][-1]) if isinstance(result, tuple) else result

        assert torch.autograd.gradcheck(states_seen, (sequence, *states))


def test_a_layer_may_be_named_like_an_operator() -> None:
    """`gru` is what torch calls the value inside the graph."""
    case = build("last_output")
    classifier = classifier_graph(make_pair(case.generator, case.classifier, {"gru": "parts.0"}, LATENT))
    session = session_of(to_onnx(classifier, ["spectrogram"], ["probability", "gru", "output"]).SerializeToString())
    x = torch.randn(2, BANDS, FRAMES)
    want = case.classifier.get_submodule("parts.0")(frames_of(x.unsqueeze(1)))[0].mean(1)
    np.testing.assert_allclose(run(session, spectrogram=x.numpy())["gru"], want.detach().numpy(), rtol=1e-5, atol=1e-6)
