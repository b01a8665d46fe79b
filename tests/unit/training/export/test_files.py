"""Networks in files: exported with their gradient, or without it and told why, or refused, and nothing written."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from earwitness.errors import InvalidArgument
from earwitness.features import MelProfile
from earwitness.inference.integrity import take_inventory
from earwitness.inference.metadata import UnitLabel
from earwitness.inference.session import OnnxSession, SessionSettings
from earwitness.training.export import ExportError, SourceError, export_bundle
from earwitness.training.export.errors import NotRepeatable
from earwitness.training.export.files import ExportedFile, FileOptions, export_files, kind_of
from tests.unit.training.export import onnx_files

BANDS, FRAMES, LATENT = 8, 12, 5
PROFILE = MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=8, excerpt_frames=12)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def generator() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENT, 96), nn.Tanh(), nn.Unflatten(1, (1, BANDS, FRAMES))).eval()


def classifier(*more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 10, 2), *more).eval()


def export(file: Path, repository: Path, made_by: nn.Module | Path | None = None, **asked: object) -> ExportedFile:
    return export_files(
        made_by or generator(), file, name="own", features=PROFILE, repository=repository, **asked  # type: ignore[arg-type]
    )  # fmt: skip


def served(repository: Path, role: str) -> OnnxSession:
    return OnnxSession(repository / f"own_{role}" / "1" / "model.onnx", SessionSettings(threads=1))


def spectrograms(repository: Path, rows: int = 3) -> np.ndarray:
    z = np.random.default_rng(2).standard_normal((rows, LATENT)).astype(np.float32)
    return served(repository, "generator").run({"z": z}, ["spectrogram"])["spectrogram"]


def saved(file: Path, network: nn.Module) -> Path:
    """In a file of the kind that its ending says: torch's own are TorchScript, traced or scripted, and torch.export."""
    x = torch.randn(2, 1, BANDS, FRAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if file.suffix == ".pt2":
            torch.export.save(
                torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("b", min=1)},)), file
            )
        elif file.suffix == ".onnx":
            torch.onnx.export(network, (x[:1],), file, dynamo=False)  # as most do it: for one row
        else:
            torch.jit.save(torch.jit.script(network) if "script" in file.stem else torch.jit.trace(network, x), file)
    return file


@pytest.mark.parametrize("batch", ["unk__6", 1])
def test_a_convnet_of_keras_is_exported_with_its_gradient(tmp_path: Path, batch: int | str) -> None:
    file = tmp_path / "keras.onnx"
    onnx.save(onnx_files.keras(BANDS, FRAMES, batch), file)
    exported = export(file, tmp_path / "models", labels=["a", "b", "c"])
    assert exported.parity is not None
    assert exported.parity.gradient < 1e-5
    assert exported.softened == "softmax"
    assert [(layer.name, layer.kind, layer.unit_count) for layer in exported.metadata.layers] == [
        ("sequential_conv2d", "conv", 4),
        ("sequential_dense", "dense", 6),
        ("sequential_dense_1", "output", 3),
    ]
    assert exported.metadata.has_gradient
    (bundle,) = take_inventory(tmp_path / "models").bundles
    assert bundle == exported.metadata
    x = spectrograms(tmp_path / "models")
    found = served(tmp_path / "models", "classifier").run({"spectrogram": x}, ["probability"])["probability"]
    theirs = OnnxSession(file, SessionSettings(threads=1))
    expected = np.concatenate([theirs.run({"x": row[None, ..., None]}, ["y"])["y"] for row in x])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("opset", [9, 11, 17])
def test_opsets(tmp_path: Path, opset: int) -> None:
    onnx.save(onnx_files.keras(BANDS, FRAMES, opset=opset), tmp_path / "keras.onnx")
    exported = export(tmp_path / "keras.onnx", tmp_path / "models")
    assert exported.parity is not None


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_of_scikit_learn_has_a_gradient(tmp_path: Path, classes: int) -> None:
    file = tmp_path / "sklearn.onnx"
    made = onnx_files.logistic(BANDS * FRAMES, classes)
    onnx.save(made, file)
    with pytest.raises(InvalidArgument, match=r"bands\*frames or as frames\*bands"):
        export(file, tmp_path / "models")
    exported = export(file, tmp_path / "models", options=FileOptions(input_axes="bands*frames"))
    assert exported.parity is not None
    x = spectrograms(tmp_path / "models")
    found = served(tmp_path / "models", "classifier").run({"spectrogram": x}, ["probability"])["probability"]
    maps = OnnxSession(file, SessionSettings(threads=1)).run({"x": x.reshape(3, -1)}, ["output_probability"])
    expected = [[row[unit] for unit in range(classes)] for row in maps["output_probability"]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_tree_is_exported_without_a_gradient_and_says_why(tmp_path: Path) -> None:
    file, repository = tmp_path / "tree.onnx", tmp_path / "models"
    onnx.save(onnx_files.tree(BANDS * FRAMES), file)
    options = FileOptions(input_axes="frames*bands", input_offset=0.1, input_scale=0.5)
    exported = export(file, repository, options=options, labels=[UnitLabel(1, "yes", "no")])
    assert exported.parity is None
    assert exported.no_gradient == (
        "operation ai.onnx.ml.TreeEnsembleClassifier (label): a decision tree's answer jumps, so it has no gradient"
    )
    assert not exported.metadata.has_gradient
    assert exported.metadata.output_kind == "probability"
    (bundle,) = take_inventory(repository).bundles
    assert bundle == exported.metadata
    x = spectrograms(repository, 40)
    found = served(repository, "classifier").run({"spectrogram": x}, ["y", "probability"])
    given = ((x - np.float32(0.1)) / np.float32(0.5)).transpose(0, 2, 1).reshape(40, -1)
    expected = OnnxSession(file, SessionSettings(threads=1)).run({"x": given}, ["y"])["y"]
    assert len(np.unique(expected, axis=0)) > 1
    np.testing.assert_allclose(found["y"], expected, atol=1e-6)
    np.testing.assert_allclose(found["probability"], expected, atol=1e-6)


def test_tensors_within_a_file_without_a_gradient_can_be_layers(tmp_path: Path) -> None:
    made = onnx_files.keras(BANDS, FRAMES)
    made.graph.node[-1].op_type = "Hardmax"
    onnx.save(made, tmp_path / "hard.onnx")
    layers = {"conv": "active", "hidden": "hidden_active", "verdict": "y"}
    exported = export(tmp_path / "hard.onnx", tmp_path / "models", layers=layers)
    assert "Hardmax" in exported.no_gradient
    assert [(layer.name, layer.kind, layer.unit_count) for layer in exported.metadata.layers] == [
        ("conv", "conv", 4),
        ("hidden", "dense", 6),
        ("verdict", "output", 3),
    ]
    with pytest.raises(InvalidArgument, match="no tensor 'nothing'"):
        export(tmp_path / "hard.onnx", tmp_path / "models", layers={"conv": "nothing"}, replace=True)


@pytest.mark.parametrize("file", ["script.pt", "trace.pt", "program.pt2", "one_row.onnx"])
def test_files_of_torch_are_exported_with_their_gradient(tmp_path: Path, file: str) -> None:
    network = classifier()
    exported = export(saved(tmp_path / file, network), tmp_path / "models")
    assert exported.parity is not None
    assert [layer.kind for layer in exported.metadata.layers] == ["conv", "output"]
    x = spectrograms(tmp_path / "models")
    answer = exported.metadata.output_layer.name
    found = served(tmp_path / "models", "classifier").run({"spectrogram": x}, [answer])[answer]
    with torch.no_grad():
        np.testing.assert_allclose(found, network(torch.from_numpy(x)[:, None]).numpy(), atol=1e-5)


def test_the_generator_may_be_a_file_too_and_that_of_another_bundle(tmp_path: Path) -> None:
    network, made_by = classifier(), generator()
    first = export(saved(tmp_path / "script.pt", network), tmp_path / "models", made_by)
    (tmp_path / "z.onnx").write_bytes((tmp_path / "models" / "own_generator" / "1" / "model.onnx").read_bytes())
    x = spectrograms(tmp_path / "models")
    again = export(tmp_path / "script.pt", tmp_path / "others", tmp_path / "z.onnx")
    assert again.parity is not None
    assert again.metadata.latent_size == first.metadata.latent_size == LATENT
    np.testing.assert_allclose(spectrograms(tmp_path / "others"), x, atol=1e-6)


@pytest.mark.parametrize(
    ("wrap", "layers"),
    [
        (lambda network: torch.jit.script(network), ["conv2d_0", "linear_3"]),
        (lambda network: nn.Sequential(torch.jit.script(network[:2]), *network[2:]).eval(), None),
        (lambda network: nn.DataParallel(network), ["conv2d_0", "linear_3"]),
        (lambda network: program(network), ["conv2d_0", "linear_3"]),
        (lambda network: program(network).module(), None),
    ],
)
def test_scripts_programs_and_wrappers_in_python(tmp_path: Path, wrap: object, layers: list[str] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = wrap(classifier())  # type: ignore[operator]
    exported = export_bundle(generator(), wrapped, name="own", features=PROFILE, repository=tmp_path)
    assert exported.parity.gradient < 1e-5
    assert len(exported.metadata.layers) == 2
    assert layers is None or [layer.name for layer in exported.metadata.layers] == layers


def program(network: nn.Module) -> torch.export.ExportedProgram:
    x = torch.randn(2, 1, BANDS, FRAMES)
    return torch.export.export(network, (x,), dynamic_shapes=({0: torch.export.Dim("b", min=1)},))


class Wrapper:
    """Runs a network, and is none."""


@pytest.mark.parametrize(
    ("given", "said"),
    [("classifier.onnx", "the path 'classifier.onnx'"), (Path("c.pt"), "the path 'c.pt'"), (Wrapper(), "Wrapper")],
)
def test_what_is_no_network_is_told_what_to_give(tmp_path: Path, given: object, said: str) -> None:
    with pytest.raises(SourceError, match=f"classifier: got {said}, .*`earwitness export`"):
        export_bundle(generator(), given, name="own", features=PROFILE, repository=tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def refusals(folder: Path) -> dict[str, tuple[Path, type[Exception], str]]:
    files = {}

    def keep(name: str, made: onnx.ModelProto, error: type[Exception], said: str) -> None:
        onnx.save(made, folder / f"{name}.onnx")
        files[name] = (folder / f"{name}.onnx", error, said)

    node = onnx.helper.make_node
    keep(
        "silero",
        onnx_files.silero(),
        SourceError,
        r"takes 3 inputs \(x FP32 \[any, 96\]; state FP32 \[2, any, 4\]; sr INT64 \[\]\)",
    )
    keep("old", onnx_files.keras(BANDS, FRAMES, opset=6), SourceError, "is of opset 6; opsets 7 and newer")
    keep("waves", onnx_files.logistic(16_000), InvalidArgument, r"input x FP32 \[16000\] takes none of")
    over_rows = [node("ReduceMean", ["x"], ["m"], axes=[0, 1], keepdims=1), node("Add", ["m", "x"], ["s"]),
                 node("ReduceMean", ["s"], ["y"], axes=[2], keepdims=0)]  # fmt: skip
    keep("rows", onnx_files.model(over_rows, ["B", BANDS, FRAMES], {}, 13), NotRepeatable, "other rows of its batch")
    keep("eight", onnx_files.keras(BANDS, FRAMES, 8), SourceError, "takes exactly 8 rows")
    (folder / "broken.onnx").write_bytes(b"\x08\x07nonsense")
    files["broken"] = (folder / "broken.onnx", SourceError, "is no ONNX file")
    torch.save(classifier().state_dict(), folder / "weights.pt")
    files["weights"] = (folder / "weights.pt", SourceError, "weights alone .* --classifier-weights")
    return files


@pytest.mark.parametrize("case", ["silero", "old", "waves", "rows", "eight", "broken", "weights"])
def test_what_cannot_be_exported_at_all_is_refused_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    file, error, said = refusals(tmp_path)[case]
    with pytest.raises(error, match=said):
        export(file, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_other_weights_under_the_name_are_replaced_only_when_told(tmp_path: Path) -> None:
    onnx.save(onnx_files.tree(BANDS * FRAMES), tmp_path / "tree.onnx")
    first = export(tmp_path / "tree.onnx", tmp_path / "models", options=FileOptions(input_axes="bands*frames"))
    other = {"options": FileOptions(input_axes="frames*bands")}
    with pytest.raises(ExportError, match="serves other weights"):
        export(tmp_path / "tree.onnx", tmp_path / "models", **other)
    second = export(tmp_path / "tree.onnx", tmp_path / "models", replace=True, **other)
    assert second.metadata.weights_sha256 != first.metadata.weights_sha256


def test_kinds_of_files(tmp_path: Path) -> None:
    network = classifier()
    kinds = {"trace.pt": "torchscript", "program.pt2": "exported", "one_row.onnx": "onnx"}
    assert {name: kind_of(saved(tmp_path / name, network)) for name in kinds} == kinds
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    assert kind_of(tmp_path / "weights.pt") is None
    assert kind_of(tmp_path / "nothing.onnx") is None
