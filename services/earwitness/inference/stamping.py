"""Brings bundles that an earlier version exported to what export writes today, their files model.onnx untouched.

That is the digests of the files, and a limit on the requests that wait in Triton.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from earwitness.files import whole_file
from earwitness.inference.agreement import POINTS, require_agreement, signs
from earwitness.inference.backend import InconsistentModel
from earwitness.inference.integrity import file_sha256, mismatch
from earwitness.inference.metadata import BUNDLE_PARAMETER, BundleMetadata, MetadataError, bundle_name, find_bundles
from earwitness.inference.repository import RepositoryError, ServedModel, parameters_of, read_config, read_contents
from earwitness.inference.session import OnnxSession, SessionSettings

MAX_QUEUE_SIZE = 128
"""Requests that wait for a model at most; Triton refuses more at once. Four explainers with every slot taken make 64.

Without any queue policy Triton runs requests, too, whose callers have gone while they waited: with one it drops them.
"""


@dataclass(frozen=True)
class Stamped:
    """A bundle and what became of it: its configurations were changed, or why they cannot be."""

    name: str
    changed: bool
    refused: str = ""


def stamp(repository: Path) -> list[Stamped]:
    """Write today's configurations of every bundle in `repository`, sorted by name.

    A bundle whose files are not those of its digests, or contradict each other, is refused and left as it was. Of a
    registered one there is nothing to write.

    Raises: RepositoryError when `repository` cannot be read or holds no model; OSError when it cannot be written.
    """
    contents = read_contents(repository)
    models, registered = contents.models, {bundle_name(name) for name in contents.foreign}
    found = find_bundles({name: _without_digests(of) for name, of in _agreeing(parameters_of(models)).items()})
    refused = [
        Stamped(name, changed=False, refused=why) for name, why in found.left_out.items() if name not in registered
    ]
    return sorted([*refused, *(_stamp(bundle, models) for bundle in found.usable)], key=lambda each: each.name)


def bound_queue(config: model_config_pb2.ModelConfig) -> None:
    """Set the queue policy of a model that batches and has none."""
    if config.HasField("dynamic_batching") and not config.dynamic_batching.HasField("default_queue_policy"):
        config.dynamic_batching.default_queue_policy.max_queue_size = MAX_QUEUE_SIZE


def config_text(config: model_config_pb2.ModelConfig) -> str:
    """A configuration as config.pbtxt has it."""
    return str(text_format.MessageToString(config, as_utf8=True))


def _stamp(bundle: BundleMetadata, models: Mapping[str, ServedModel]) -> Stamped:
    files = {role: models[bundle.served_name(role)].model_file for role in bundle.roles}
    try:
        digests: dict[str, str] = {role: file_sha256(file) for role, file in files.items()}
        known = [_digests(models[bundle.served_name(role)].parameters) for role in bundle.roles]
        for role in bundle.roles:
            for each in known:
                if each is not None and each[role] != digests[role]:
                    raise RepositoryError(mismatch(files[role], each[role], digests[role]))
        if None in known:
            _require_agreement(bundle, models)
    except RepositoryError as err:
        return Stamped(bundle.name, changed=False, refused=err.message)
    return Stamped(bundle.name, changed=write_configurations(replace(bundle, model_sha256=digests), models))


def write_configurations(bundle: BundleMetadata, models: Mapping[str, ServedModel]) -> bool:
    """Write what `bundle` says of itself into the config.pbtxt of all its models; whether that changed anything.

    Nothing is replaced before all is written, and the generator's goes first: where this is cut off between them,
    `stamp` finds the new one there.

    Raises: RepositoryError; OSError.
    """
    texts = {}
    for role in bundle.roles:
        folder = models[bundle.served_name(role)].model_file.parents[1]
        config = read_config(folder)
        bound_queue(config)
        for name, value in bundle.to_parameters(role).items():
            config.parameters[name].string_value = value
        texts[folder / "config.pbtxt"] = config_text(config)
    changed = {path: text for path, text in texts.items() if path.read_text(encoding="utf-8") != text}
    with ExitStack() as writing:  # which replaces the last one first
        for path, text in reversed(changed.items()):
            writing.enter_context(whole_file(path)).write_text(text, encoding="utf-8")
    return bool(changed)


def _require_agreement(bundle: BundleMetadata, models: Mapping[str, ServedModel]) -> None:
    """Raises: RepositoryError for models that cannot be run, or that contradict each other."""
    latents = np.random.default_rng(0).standard_normal((POINTS, bundle.latent_size)).astype(np.float32)
    try:
        sessions = {role: _session(models[bundle.served_name(role)]) for role in bundle.roles}
        made = sessions["generator"].run({"z": latents}, ["spectrogram"])
        units = sessions["classifier"].run(made, [layer.name for layer in bundle.layers])
        for layer in bundle.layers if bundle.has_gradient else ():
            inputs = {
                "z": latents,
                "unit_weights": signs(bundle, layer),
                "prior_weight": np.zeros((POINTS, 1), np.float32),
            }
            found = sessions["search"].run(inputs, ["activation"])
            require_agreement(bundle, layer, found["activation"][:, 0], units[layer.name])
    except InconsistentModel as err:
        raise RepositoryError(err.message) from err
    except Exception as err:  # ONNX Runtime's exceptions share no base of their own
        raise RepositoryError(f"its models cannot be run ({err}); export the model again") from err


def _session(model: ServedModel) -> OnnxSession:
    return OnnxSession(model.model_file, SessionSettings.from_parameters(model.parameters))


def _digests(parameters: Mapping[str, str]) -> Mapping[str, str] | None:
    return BundleMetadata.from_parameters(parameters).model_sha256


def _agreeing(parameters: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The parameters of all models, those of a bundle with the recommendations of its generator, where they differ: see
    `write_configurations`."""
    agreeing = dict(parameters)
    for name, of_model in parameters.items():
        try:
            metadata = BundleMetadata.from_parameters(of_model)
            generator = BundleMetadata.from_parameters(parameters[metadata.served_name("generator")])
        except (MetadataError, KeyError):
            continue
        metadata = replace(metadata, recommendations=generator.recommendations)
        agreeing[name] = metadata.to_parameters("search")
    return agreeing


def _without_digests(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters of a model as of an export without digests; others as they are."""
    try:
        metadata = BundleMetadata.from_parameters(parameters)
    except MetadataError:
        return parameters
    return {BUNDLE_PARAMETER: replace(metadata, model_sha256=None).to_parameters("search")[BUNDLE_PARAMETER]}
