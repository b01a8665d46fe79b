"""`earwitness export` of networks in files, ONNX, TorchScript and torch.export, and with generators of other models."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness.cli import console
from earwitness.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import nn

    from earwitness.features import FeatureProfile
    from earwitness.inference.metadata import UnitLabel
    from earwitness.training.export import ExportedBundle
    from earwitness.training.export.files import ExportedFile


@dataclass(frozen=True)
class Asked:
    """What is exported, as the command was told."""

    name: str
    generator: str
    classifier: str
    repository: Path
    features: "FeatureProfile | None"
    layers: Mapping[str, str] | None
    labels: "list[UnitLabel]"
    training_data: str
    latent_size: int | None
    generator_weights: Path | None
    classifier_weights: Path | None
    input_axes: str | None
    input_offset: float
    input_scale: float
    output_tensor: str | None
    heads: Mapping[str, Any]
    """Options on what a network returns and is given, by their names; None is not given."""
    force: bool


def is_of_files(generator: str, classifier: str, repository: Path) -> bool:
    """Whether one of them is a network in a file, or the generator is that of a model in the repository."""
    from earwitness.training.export.files import kind_of

    return any(kind_of(Path(each)) for each in (generator, classifier)) or _served(generator, repository) is not None


def export_files(asked: Asked) -> "ExportedBundle | ExportedFile":
    """Raises: InvalidArgument; ExportError; OSError."""
    from earwitness.training.export import export_bundle, files, load_network

    sys.path.insert(0, str(Path.cwd()))  # where people keep the module they name
    shown, own = _features_of_generator(asked)
    profile = asked.features or own
    if profile is None:
        raise InvalidArgument("features", "is needed: log-mel-80@1, or a JSON file; the generator does not say them")
    if own is not None and own.to_dict() != profile.to_dict():
        raise InvalidArgument(
            "features", f"are {profile.name}, the generator {asked.generator!r} makes {own.name}; leave the option out"
        )
    shape = (profile.excerpt_shape[0], profile.excerpt_shape[1])
    common: dict[str, Any] = {
        "name": asked.name,
        "features": profile,
        "repository": asked.repository,
        "layers": asked.layers,
        "labels": asked.labels,
        "training_data": asked.training_data,
        "latent_size": asked.latent_size,
        "replace": asked.force,
    }
    if files.kind_of(Path(asked.classifier)) is None:
        network = load_network(asked.classifier, asked.classifier_weights)
        read = files.read_generator(shown, shape, asked.latent_size) if isinstance(shown, Path) else shown
        return export_bundle(read, network, **common, **_heads(asked))
    if given := [name for name, value in asked.heads.items() if value is not None]:
        raise InvalidArgument(
            given[0],
            "is for networks in Python; what a file takes and returns is found, or said by --output-tensor, "
            "--input-axes, --input-offset and --input-scale",
        )
    options = files.FileOptions(asked.input_axes, asked.input_offset, asked.input_scale, asked.output_tensor)
    return files.export_files(shown, Path(asked.classifier), options=options, **common)


def _heads(asked: Asked) -> dict[str, Any]:
    from earwitness.training.export import Wraps

    given = asked.heads
    wraps = Wraps(given["take"], given["generator_take"], given["swap_axes"], given["channels"] or 1)
    return {"output": given["output"], "probability": given["probability"], "wraps": wraps}


def print_exported(exported: "ExportedFile", repository: Path) -> None:
    """What was written, and whether it has a gradient, or why not."""
    metadata = exported.metadata
    sizes = [f"{metadata.served_name(role)} {size / 1e6:.1f} MB" for role, size in exported.model_bytes.items()]
    console.show(f"{metadata.name}: {', '.join(sizes)}, in {repository}")
    layers = ", ".join(f"{layer.name} ({layer.unit_count})" for layer in metadata.layers)
    console.show(f"layers: {layers}; weights {metadata.weights_sha256[:16]}")
    if exported.softened:
        console.show(f"its units are logits: the {exported.softened} at the file's end makes their probability")
    if exported.parity is None:
        console.show(f"without a gradient: {exported.no_gradient}")
        console.show(f"explained by what it answers: earwitness explain {metadata.name} --optimiser walk, or draws")
    else:
        errors = [(name, value) for name, value in asdict(exported.parity).items() if isinstance(value, float)]
        said = ", ".join(f"{name.replace('_', ' ')} {value:.2g}" for name, value in errors)
        console.show(f"with its gradient; worst relative errors against torch: {said}")


def _features_of_generator(asked: Asked) -> "tuple[Path | nn.Module, FeatureProfile | None]":
    """The generator, as a file or a network, and its features where it says them."""
    from earwitness.features import profile_from_dict
    from earwitness.training.checkpoint import CheckpointError, load_checkpoint
    from earwitness.training.export import SourceError, load_network
    from earwitness.training.export.files import kind_of

    path = Path(asked.generator)
    if kind_of(path) is not None:
        return path, None
    if path.is_file():
        try:
            network, meta = load_checkpoint(path, "generator")
        except CheckpointError as err:
            raise SourceError(str(err)) from err
        return network, profile_from_dict(meta.features)
    if ":" in asked.generator:
        return load_network(asked.generator, asked.generator_weights), None
    served = _served(asked.generator, asked.repository)
    if served is None:
        raise InvalidArgument(
            "generator",
            f"got {asked.generator!r}; give a file, package.module:attribute, or the name of a model in "
            f"{asked.repository} whose generator to use",
        )
    file, features = served
    return file, profile_from_dict(features)


def _served(name: str, repository: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The file of the generator of a model in the repository, and its features; None where there is none."""
    from earwitness.inference.metadata import BundleMetadata, MetadataError
    from earwitness.inference.repository import RepositoryError, read_repository

    try:
        model = read_repository(repository)[f"{name.replace('-', '_')}_generator"]
        return model.model_file, BundleMetadata.from_parameters(model.parameters).features
    except (RepositoryError, KeyError, MetadataError):
        return None
