"""A generator and a classifier become the three served models of a bundle."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.inference.integrity import file_sha256
from earwitness.inference.metadata import (
    ROLES,
    BundleMetadata,
    Layer,
    OutputKind,
    ProbabilityKind,
    Role,
    UnitLabel,
    default_probability,
)
from earwitness.inference.names import EXPECTED, is_name
from earwitness.inference.placing import Place
from earwitness.training.export.card import CardFacts, card_files, write_card
from earwitness.training.export.errors import ExportError
from earwitness.training.export.forward_graphs import classifier_graph, generator_graph
from earwitness.training.export.layers import LayerSpec
from earwitness.training.export.onnx_writer import to_onnx
from earwitness.training.export.pair import AS_THEY_ARE, Pair, make_pair
from earwitness.training.export.reference import Reference
from earwitness.training.export.repeatable import require_repeatable
from earwitness.training.export.search_graph import search_graph
from earwitness.training.export.taking import as_network
from earwitness.training.export.triton_config import config_text, ports
from earwitness.training.export.verify import ParityReport, verify
from earwitness.training.export.wrapping import Wraps

GRAPHS = {"generator": generator_graph, "classifier": classifier_graph, "search": search_graph}
MODEL_VERSION = "1"

RUNTIME: Mapping[str, str] = {"micro_batch": "1"}
"""Parameters for the ONNX Runtime backend: on a CPU a row runs fastest alone, on one thread, beside others."""

NO_FACTS = CardFacts()


@dataclass(frozen=True)
class ExportedBundle:
    """A bundle as written: what it says of itself, how well it agrees with torch, bytes of each model."""

    metadata: BundleMetadata
    parity: ParityReport
    model_bytes: Mapping[Role, int]


def export_bundle(
    generator: nn.Module,
    classifier: nn.Module,
    *,
    name: str,
    features: FeatureProfile | Mapping[str, Any],
    repository: Path | str,
    layers: Mapping[str, str] | Sequence[LayerSpec] | None = None,
    labels: Sequence[UnitLabel | str] = (),
    training_data: str = "not recorded",
    latent_size: int | None = None,
    output: OutputKind | None = None,
    probability: ProbabilityKind | None = None,
    wraps: Wraps = AS_THEY_ARE,
    runtime: Mapping[str, str] = RUNTIME,
    facts: CardFacts | Callable[[], CardFacts] = NO_FACTS,
    replace: bool = False,
) -> ExportedBundle:
    """Writes `<name>_generator`, `<name>_classifier`, `<name>_search` and the card into `repository`, all or none.

    The generator takes z `[B, Z]` or `[B, Z, 1, 1]` and returns the spectrogram `[B, 1, bands, frames]` or
    `[B, bands, frames]`, as `features` (a profile, or its `to_dict()`) makes it of sound; the classifier takes either
    and returns logits or probabilities `[B, outputs]`. `layers` maps public names to paths of submodules of the
    classifier whose outputs are the layers (default: every convolution, recurrent and dense one; the classifier's own
    output is added if none of them is it). `labels` are the words for the outputs, in their order. `latent_size`
    defaults to what the generator says; `output`, what the classifier's outputs are explained as, and `probability`,
    what makes it of logits, to what is found at its end (see `heads`: the logits before a softmax or sigmoid are
    explained). `wraps` are wraps around networks that are otherwise than this, such as one of several results (see
    `wrapping`). `runtime` are parameters for the ONNX Runtime backend. `facts` go into the model card; where it takes
    long to gather them, give what does so, which is called once names, shapes and labels are known to fit. Models of
    the same name and the same weights are written anew, those of other weights only with `replace`.

    Raises: ExportError (see `errors`) when names, shapes or operators do not allow it, or when the graphs disagree with
    torch; the repository is then as it was. OSError when it cannot be written.
    """
    _check_name(name)
    profile = profile_from_dict(features) if isinstance(features, Mapping) else features
    features, repository = profile.to_dict(), Path(repository)
    shape = (profile.excerpt_shape[0], profile.excerpt_shape[1])
    generator = as_network("generator", generator, shape, latent_size)
    classifier = as_network("classifier", classifier, shape, latent_size)
    pair = make_pair(generator, classifier, layers, latent_size, output, probability, wraps, profile)
    Reference(pair).require_computable()
    require_repeatable(pair)
    metadata = BundleMetadata(
        name=name,
        latent_size=pair.latent_size,
        sample_rate_hz=profile.sample_rate_hz,
        spectrogram_shape=pair.spectrogram_shape,
        layers=pair.layers,
        labels=unit_labels(labels, pair.layers),
        features=features,
        training_data=training_data,
        weights_sha256=weights_checksum(pair, features),
        output_kind=pair.head.output,
        probability=_said(pair),
    )
    _check_labels(metadata)
    place = Place(repository, name, [metadata.served_name(role) for role in ROLES], card_files(name))
    if not replace and (other := place.holder(metadata.weights_sha256)):
        raise ExportError(
            f"name: {repository} serves other weights as {name!r} ({other}); give another name or repository, or "
            "replace them (--force, in Python replace=True)"
        )
    told = facts() if callable(facts) else facts
    models = {role: _model(pair, metadata, role).SerializeToString(deterministic=True) for role in ROLES}
    digests: dict[str, str] = {role: hashlib.sha256(model).hexdigest() for role, model in models.items()}
    metadata = dataclasses.replace(metadata, model_sha256=digests)
    parity = verify(pair, models)
    model_bytes = {role: len(model) for role, model in models.items()}
    with place.exchanged() as staging:
        for role in ROLES:
            folder = staging / metadata.served_name(role)
            (folder / MODEL_VERSION).mkdir(parents=True)
            file = folder / MODEL_VERSION / "model.onnx"
            file.write_bytes(models[role])
            if file_sha256(file) != digests[role]:
                raise ExportError(f"{file} reads back otherwise than it was written; look whether the disk is sound")
            (folder / "config.pbtxt").write_text(config_text(metadata, role, runtime), encoding="utf-8")
        write_card(staging, metadata, parity, model_bytes, told)
    return ExportedBundle(metadata, parity, model_bytes)


def weights_checksum(pair: Pair, features: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the sorted names and bytes of both networks' state, and over what the weights mean.

    That is the modules as torch prints them (strides, slopes, poolings), the layers' paths and the features: a score is
    refused when any of it differs from the reference's.
    """
    digest = hashlib.sha256()
    for meaning in (pair.networks, pair.specs, json.dumps(features, sort_keys=True)):
        digest.update(repr(meaning).encode() + b"\0")
    if meaning := pair.head.meaning(pair.layers[pair.output_index].unit_count):
        digest.update(meaning.encode() + b"\0")
    if pair.wraps != AS_THEY_ARE:
        digest.update(repr(pair.wraps).encode() + b"\0")
    state = {
        f"{role}.{key}": value for role, network in pair.networks.items() for key, value in network.state_dict().items()
    }
    for key in sorted(state):
        digest.update(key.encode() + b"\0")
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _model(pair: Pair, metadata: BundleMetadata, role: Role) -> onnx.ModelProto:
    model_ports = ports(metadata, role)
    names = ([port.name for port in tensors] for tensors in (model_ports.inputs, model_ports.outputs))
    return to_onnx(GRAPHS[role](pair), *names)


def _said(pair: Pair) -> ProbabilityKind | None:
    """The kind of probability where it is not what a bundle that says nothing has."""
    head, count = pair.head, pair.layers[pair.output_index].unit_count
    usual = head.output == "probability" or head.probability == default_probability(count)
    return None if usual else head.probability


def _check_name(name: str) -> None:
    if not is_name(name):
        raise ExportError(f"name: got {name!r}, expected {EXPECTED}")


def _check_labels(metadata: BundleMetadata) -> None:
    outputs = metadata.output_layer.unit_count
    for label in metadata.labels:
        if not 0 <= label.unit < outputs:
            raise ExportError(f"labels: unit {label.unit} is labelled, the classifier has outputs 0 ... {outputs - 1}")


def unit_labels(labels: Sequence[UnitLabel | str], layers: Sequence[Layer]) -> tuple[UnitLabel, ...]:
    """Words alone label the outputs in their order; the low word is the other one of two, else "not" and the word."""
    words = [label for label in labels if isinstance(label, str)]
    pair = len(words) == len(labels) == next(layer.unit_count for layer in layers if layer.kind == "output") == 2
    return tuple(
        UnitLabel(unit, label, words[1 - unit] if pair else f"not {label}") if isinstance(label, str) else label
        for unit, label in enumerate(labels)
    )
