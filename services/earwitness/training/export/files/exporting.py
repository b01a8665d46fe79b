"""Networks in files as bundles: with their gradient where it can be computed, else without, and why."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf import text_format
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.conv import _ConvNd
from tritonclient.grpc import model_config_pb2

from earwitness.errors import InvalidArgument
from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.inference.metadata import FORWARD_ROLES, ROLES, BundleMetadata, Role, UnitLabel
from earwitness.inference.names import EXPECTED, is_name
from earwitness.inference.placing import Place
from earwitness.inference.stamping import config_text as as_text
from earwitness.registration.axes import Intake, Port, axes_of, sizes_of
from earwitness.registration.registering import kind_of, taken_by
from earwitness.registration.units import Source, check_labels, choose_outputs, sources_of
from earwitness.training.export.bundle import MODEL_VERSION, RUNTIME, export_bundle, unit_labels
from earwitness.training.export.card import card_files
from earwitness.training.export.errors import ExportError, NotRepeatable, ParityError, ShapeError, SourceError
from earwitness.training.export.files.heard import FileClassifier, FileGenerator
from earwitness.training.export.files.reading import OnnxFile, read_file
from earwitness.training.export.files.without_gradient import classifier_model, generator_model, generator_pair
from earwitness.training.export.layers import OUTPUT_NAME, LayerSpec
from earwitness.training.export.pair import Pair
from earwitness.training.export.triton_config import config_text
from earwitness.training.export.verify import ParityReport

PROBES = 8
"""Spectrograms of the generator that a file is tried with."""
TOLERANCE = 1e-4
"""Of the torch network that is made of a file, relative to ONNX Runtime, both in float32."""


@dataclass(frozen=True)
class FileOptions:
    """How a classifier's file takes spectrograms, where its sizes do not tell, and which output is its answer."""

    input_axes: str | None = None
    input_offset: float = 0.0
    input_scale: float = 1.0
    output_tensor: str | None = None


@dataclass(frozen=True)
class ExportedFile:
    """A bundle as written. `parity` is how well it agrees with torch, None for one without a gradient, of which
    `no_gradient` says why; `softened` is what the file has at its end that is left out, "" for nothing."""

    metadata: BundleMetadata
    model_bytes: Mapping[Role, int]
    parity: ParityReport | None
    no_gradient: str = ""
    softened: str = ""


AS_IT_SAYS = FileOptions()


def export_files(
    generator: nn.Module | Path,
    classifier: Path,
    *,
    name: str,
    features: FeatureProfile | Mapping[str, Any],
    repository: Path,
    options: FileOptions = AS_IT_SAYS,
    layers: Mapping[str, str] | None = None,
    labels: Sequence[UnitLabel | str] = (),
    training_data: str = "not recorded",
    latent_size: int | None = None,
    replace: bool = False,
) -> ExportedFile:
    """Exports a classifier from an ONNX, TorchScript or torch.export file, a generator from such a file or from torch.

    Where every operation of the classifier has a rule, it becomes a network in torch and is exported as any other is,
    its layers found by it; `layers` are then modules. Where one has none, its graph is served as it is, without a
    search graph, and `layers` are tensors of it; its outputs, unless told.

    Raises: ExportError and InvalidArgument when it is neither; the repository is then as it was. OSError.
    """
    if not is_name(name):
        raise ExportError(f"name: got {name!r}, expected {EXPECTED}")
    profile = profile_from_dict(features) if isinstance(features, Mapping) else features
    shape = (profile.excerpt_shape[0], profile.excerpt_shape[1])
    made_by = generator if isinstance(generator, nn.Module) else read_generator(generator, shape, latent_size)
    pair = generator_pair(made_by, shape, latent_size)
    if pair.spectrogram_shape != shape:
        raise ShapeError(
            f"features: profile {profile.name!r} has excerpts of {list(shape)} bands × frames, the generator returns "
            f"{list(pair.spectrogram_shape)}; export with the profile the networks were trained on"
        )
    forms = (options.input_axes,) if options.input_axes else ("1,bands,frames", "bands,frames")
    file = read_file(classifier, [sizes_of(form, shape) for form in forms])
    axes = axes_of(file.given, shape, options.input_axes)
    intake = Intake(file.given, axes, shape, options.input_offset, options.input_scale)
    sounds = _sounds(pair)
    answer, others = choose_outputs(file.outputs, options.output_tensor)
    answers = _answers(file, intake, sounds, [answer.name])
    try:
        network = FileClassifier(file, intake, answer.name).eval()
        _require_parity(file, network, sounds, answers[answer.name])
        exported = export_bundle(
            made_by,
            network,
            name=name,
            features=profile,
            repository=repository,
            layers=layers if layers is not None or _has_layers(network) else [LayerSpec(OUTPUT_NAME, "")],
            labels=labels,
            training_data=training_data,
            latent_size=latent_size,
            replace=replace,
        )
    except ExportError as err:
        why = str(err)
    else:
        return ExportedFile(exported.metadata, exported.model_bytes, exported.parity, softened=network.softened)
    if layers is not None:
        file = _with_outputs(file, layers.values())
        others = [port for port in file.outputs if port.name != answer.name]
        others = [port for port in others if port.name in layers.values()]
    found = _answers(file, intake, sounds, [answer.name, *(port.name for port in others)])
    seen = {port.name: Port(port.name, port.datatype, found[port.name].shape[1:]) for port in (answer, *others)}
    sources = sources_of(seen[answer.name], [seen[port.name] for port in others], layers)
    described = unit_labels(labels, [source.layer for source in sources])
    check_labels(described, sources)
    metadata = BundleMetadata(
        name=name,
        latent_size=pair.latent_size,
        sample_rate_hz=profile.sample_rate_hz,
        spectrogram_shape=shape,
        layers=tuple(source.layer for source in sources),
        labels=described,
        features=profile.to_dict(),
        training_data=training_data,
        weights_sha256=_identity(pair, file, intake, sources, profile),
        has_gradient=False,
        output_kind=kind_of(found[answer.name]),
    )
    models = {
        "generator": generator_model(pair),
        "classifier": classifier_model(file, intake, sources, probabilities=metadata.output_kind == "probability"),
    }
    _require_same(models["classifier"], file, sources, sounds, found)
    metadata = _write(metadata, models, repository, file.batch, replace=replace)
    sizes: dict[Role, int] = {role: len(models[role]) for role in FORWARD_ROLES}
    return ExportedFile(metadata, sizes, None, no_gradient=why)


def read_generator(path: Path, spectrogram_shape: tuple[int, int], latent_size: int | None) -> nn.Module:
    """A generator from a file. Raises: ExportError, also for one whose gradient cannot be computed."""
    rows = [] if latent_size is None else [(latent_size,), (latent_size, 1, 1)]
    try:
        return FileGenerator(read_file(path, rows), spectrogram_shape).eval()
    except ShapeError as err:
        if latent_size is None and "takes no batch of these" in str(err):
            raise ShapeError(f"generator: {path} does not say the size of its latent; give it (latent_size)") from err
        raise


def _sounds(pair: Pair) -> NDArray[np.float32]:
    """What the generator makes of some latents `[PROBES, bands, frames]`."""
    z = torch.randn(PROBES, pair.latent_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = pair.generate(pair.weights(), z)
    return made.reshape(PROBES, *pair.spectrogram_shape).numpy()


def _answers(
    file: OnnxFile, intake: Intake, sounds: NDArray[np.float32], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """What the file says of the sounds. Raises: SourceError; NotRepeatable; ExportError."""
    given = taken_by(intake, sounds)
    found = file.run(given, names)
    if file.batch not in (None, 1):
        raise SourceError(
            f"{file.source}: takes exactly {file.batch} rows; export it with a dynamic batch (dynamic_axes, "
            "dynamic_shapes), or with one row"
        )
    fewer = file.run(given[: PROBES // 2], names)
    for name in names:
        if len(found[name]) != PROBES:
            raise ShapeError(
                f"{file.source}: its output {name!r} is {list(found[name].shape)} for {PROBES} rows, expected one for "
                "each, with the rows in front"
            )
        if not np.isfinite(found[name]).all():
            raise ExportError(f"{file.source}: its output {name!r} has NaN or infinity for finite sounds")
        scale = float(np.abs(found[name]).max())
        if not np.allclose(fewer[name], found[name][: PROBES // 2], rtol=1e-3, atol=1e-3 * scale):
            raise NotRepeatable(
                f"{file.source}: its output {name!r} for a sound depends on the other rows of its batch, or is random"
            )
    return found


def _has_layers(network: nn.Module) -> bool:
    """Whether there are layers to find beside its answer."""
    return any(isinstance(module, nn.Linear | _ConvNd) for module in network.modules())


def _require_parity(
    file: OnnxFile, network: FileClassifier, sounds: NDArray[np.float32], answers: NDArray[Any]
) -> None:
    """Raises: ParityError when the network in torch is not the file's; ExportError when it cannot run."""
    try:
        with torch.no_grad():
            logits = network(torch.from_numpy(sounds))
    except (RuntimeError, TypeError, ValueError, IndexError) as err:
        raise ExportError(f"its graph does not run in torch: {next(iter(str(err).splitlines()), '')}") from err
    found = (torch.softmax(logits, 1) if network.softened else logits).numpy()
    if found.shape != answers.shape:
        raise ParityError(f"torch gives {list(found.shape)}, ONNX Runtime {list(answers.shape)}")
    off = float(np.abs(found - answers).max()) / max(float(np.abs(answers).max()), 1e-30)
    if not off <= TOLERANCE:
        raise ParityError(f"torch is {off:.0e} off ONNX Runtime; if a rule of ours is at fault, please report the file")


def _with_outputs(file: OnnxFile, names: Any) -> OnnxFile:
    """The file with more of its tensors as outputs. Raises: InvalidArgument for one that it does not have."""
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    made = {name for node in model.graph.node for name in node.output}
    outputs = {port.name for port in file.outputs}
    ports = list(file.outputs)
    for name in names:
        if name not in made:
            raise InvalidArgument(
                "layer", f"{file.source} has no tensor {name!r}; without a gradient layers are tensors of the file"
            )
        if name not in outputs:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
            ports.append(Port(name, "FP32", ()))
    return dataclasses.replace(file, model=model, outputs=tuple(ports))


def _identity(pair: Pair, file: OnnxFile, intake: Intake, sources: Sequence[Source], profile: FeatureProfile) -> str:
    digest = hashlib.sha256(file.model.SerializeToString(deterministic=True))
    for meaning in (pair.generator, intake, sources, sorted(profile.to_dict().items())):
        digest.update(repr(meaning).encode() + b"\0")
    for key, value in sorted(pair.generator.state_dict().items()):
        digest.update(key.encode() + b"\0" + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _require_same(
    model: bytes,
    file: OnnxFile,
    sources: Sequence[Source],
    sounds: NDArray[np.float32],
    found: Mapping[str, NDArray[Any]],
) -> None:
    """Raises: ParityError when the served classifier does not say what the file says."""
    (given,) = onnx.load_model_from_string(model).graph.input
    port = Port(given.name, "FP32", sounds.shape[1:])
    served = OnnxFile(file.source, onnx.load_model_from_string(model), port, (), file.batch)
    units = served.run(sounds, [source.layer.name for source in sources])
    for source in sources:
        raw = found[source.port.name].astype(np.float64)
        want = raw.reshape(PROBES, source.layer.unit_count, -1).mean(axis=2)
        off = float(np.abs(units[source.layer.name] - want).max()) / max(float(np.abs(want).max()), 1e-30)
        if not off <= TOLERANCE:
            raise ParityError(f"classifier: {source.layer.name} is {off:.0e} off {file.source}; please report the file")


def _write(
    metadata: BundleMetadata, models: Mapping[str, bytes], repository: Path, batch: int | None, *, replace: bool
) -> BundleMetadata:
    """What was written, with the digests of its files.

    Raises: ExportError when other weights are served under the name; OSError.
    """
    place = Place(repository, metadata.name, [metadata.served_name(role) for role in ROLES], card_files(metadata.name))
    if not replace and (other := place.holder(metadata.weights_sha256)):
        raise ExportError(
            f"name: {repository} serves other weights as {metadata.name!r} ({other}); give another name or repository, "
            "or replace them (--force, in Python replace=True)"
        )
    digests: dict[str, str] = {role: hashlib.sha256(models[role]).hexdigest() for role in FORWARD_ROLES}
    metadata = dataclasses.replace(metadata, model_sha256=digests)
    with place.exchanged() as staging:
        for role in FORWARD_ROLES:
            folder = staging / metadata.served_name(role)
            (folder / MODEL_VERSION).mkdir(parents=True)
            (folder / MODEL_VERSION / "model.onnx").write_bytes(models[role])
            text = config_text(metadata, role, RUNTIME)
            if role == "classifier" and batch is not None:
                config = text_format.Parse(text, model_config_pb2.ModelConfig())
                config.max_batch_size = batch
                text = as_text(config)
            (folder / "config.pbtxt").write_text(text, encoding="utf-8")
    return metadata
