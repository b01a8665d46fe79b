"""A classifier that a Triton serves already becomes a bundle without a search graph: asked, checked, then written."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.inference.backend import FloatArray
from earwitness.inference.metadata import FORWARD_ROLES, ROLES, BundleMetadata, OutputKind, UnitLabel
from earwitness.inference.names import EXPECTED, is_name
from earwitness.inference.placing import Place
from earwitness.inference.stamping import config_text
from earwitness.registration.axes import FLOATS, Intake, Port, axes_of
from earwitness.registration.configuration import VERSION, Written, adapter_names, classifier
from earwitness.registration.generators import Generator, find_generator
from earwitness.registration.served import WIDTHS, AnyFloats, Served, Triton, only_input
from earwitness.registration.units import Source, check_labels, choose_outputs, sources_of

PROBES = 16
"""Latents from the prior at which the classifier is asked before anything is written."""
SEED = 7
TOLERANCE = 1e-3
"""Relative difference of two answers that rounding does not make."""


class NotRepeatable(FailedPrecondition):
    """The classifier does not give a sound one answer."""

    reason = "NOT_REPEATABLE"


@dataclass(frozen=True)
class Registration:
    """What to register: see `earwitness register`. `layers` are names with their outputs; None takes all outputs."""

    name: str
    classifier: str
    generator: str
    version: int | None = None
    features: FeatureProfile | None = None
    input_axes: str | None = None
    input_offset: float = 0.0
    input_scale: float = 1.0
    output_tensor: str | None = None
    output: OutputKind | None = None
    layers: Mapping[str, str] | None = None
    labels: Sequence[UnitLabel] = ()
    training_data: str = "not recorded"
    replace: bool = False


@dataclass(frozen=True)
class Registered:
    """A bundle as written: what it says of itself, its served models, and what is to be known of it."""

    metadata: BundleMetadata
    models: tuple[str, ...]
    axes: str
    notes: tuple[str, ...]

    @property
    def loaded_first(self) -> list[str]:
        """The models that a Triton is to load; with an ensemble it loads what that is made of, the classifier too."""
        return [self.metadata.served_name(role) for role in FORWARD_ROLES]


async def register(asked: Registration, repository: Path, triton: Triton) -> Registered:
    """Writes `<name>_generator`, `<name>_classifier` and what adapters they need into `repository`, all or none.

    The classifier is asked for its tensors, then run over what the generator makes of some latents; whatever does not
    fit is refused before anything is written.

    Raises: InvalidArgument naming the option; AlreadyExists; NotRepeatable; ModelRefuses; InferenceUnavailable;
    RepositoryError; OSError.
    """
    if not is_name(asked.name):
        raise InvalidArgument("name", f"got {asked.name!r}, expected {EXPECTED}")
    if not (np.isfinite(asked.input_scale) and asked.input_scale != 0 and np.isfinite(asked.input_offset)):
        raise InvalidArgument("input_scale", "offset and scale must be finite, and the scale not 0")
    place = _place(asked, repository)
    model = await triton.find(asked.classifier, "classifier", asked.version)
    generator = await find_generator(asked.generator, repository, triton)
    profile = _profile(asked, generator)
    port = only_input(model, "classifier")
    intake = Intake(
        port=port,
        axes=axes_of(port, generator.spectrogram_shape, asked.input_axes),
        spectrogram_shape=generator.spectrogram_shape,
        offset=asked.input_offset,
        scale=asked.input_scale,
    )
    latents = np.random.default_rng(SEED).standard_normal((PROBES, generator.latent_size)).astype(np.float32)
    spectrograms = await generator.generate(latents)
    _require_spectrograms(generator, spectrograms)
    answer, others = choose_outputs(model.outputs, asked.output_tensor)
    wanted = [
        each
        for each in (*others, answer)
        if asked.layers is None or each is answer or each.name in asked.layers.values()
    ]
    answers = await _probe(triton, model, intake, wanted, spectrograms)
    seen = {each.name: Port(each.name, each.datatype, answers[each.name].shape[1:]) for each in wanted}
    sources = sources_of(seen[answer.name], [seen[each.name] for each in wanted if each is not answer], asked.layers)
    check_labels(asked.labels, sources)
    metadata = BundleMetadata(
        name=asked.name,
        latent_size=generator.latent_size,
        sample_rate_hz=profile.sample_rate_hz,
        spectrogram_shape=generator.spectrogram_shape,
        layers=tuple(source.layer for source in sources),
        labels=tuple(asked.labels),
        features=profile.to_dict(),
        training_data=asked.training_data,
        weights_sha256=_identity(model, generator, intake, sources, answers),
        has_gradient=False,
        output_kind=asked.output or kind_of(answers[answer.name]),
    )
    models = classifier(metadata.served_name("classifier"), model, intake, sources)
    models[metadata.served_name("generator")] = generator.written(metadata.served_name("generator"))
    for role in FORWARD_ROLES:
        for key, text in metadata.to_parameters(role).items():
            models[metadata.served_name(role)].config.parameters[key].string_value = text
    with place.exchanged() as staging:
        for name, written in models.items():
            _write(staging / name, written)
    return Registered(metadata, tuple(sorted(models)), intake.axes, tuple(_notes(model, sources, answers)))


def _place(asked: Registration, repository: Path) -> Place:
    """Raises: AlreadyExists when there is something of that name, unless it is to be replaced."""
    stem = asked.name.replace("-", "_")
    served = [f"{stem}_{role}" for role in ROLES]
    names = [*served, *adapter_names(f"{stem}_classifier")]
    place = Place(repository, asked.name, names, [f"{stem}.md", f"{stem}.png"])
    taken = [name for name in names if (repository / name).exists()]
    if taken and not asked.replace:
        raise AlreadyExists(
            "model",
            f"{repository / taken[0]}",
            "give another name or repository, or replace it (--force, in Python replace=True)",
        )
    return place


def _profile(asked: Registration, generator: Generator) -> FeatureProfile:
    """Raises: InvalidArgument where features are missing, or are not the generator's."""
    own = profile_from_dict(generator.features) if generator.features is not None else None
    profile = asked.features or own
    if profile is None:
        raise InvalidArgument(
            "features",
            f"is needed: {asked.generator!r} does not say what it makes; give a profile's name or a JSON file",
        )
    if own is not None and own.to_dict() != profile.to_dict():
        raise InvalidArgument(
            "features",
            f"are {profile.name}, the generator {asked.generator!r} makes {own.name}{_same_name(own, profile)}; leave "
            "the option out, or give a generator of these. Where the classifier only scales them differently, "
            "--input-offset and --input-scale say so",
        )
    if tuple(profile.excerpt_shape) != generator.spectrogram_shape:
        raise InvalidArgument(
            "features",
            f"{profile.name} has excerpts of {list(profile.excerpt_shape)} bands × frames, the generator "
            f"{asked.generator!r} makes {list(generator.spectrogram_shape)}",
        )
    return profile


def _same_name(own: FeatureProfile, profile: FeatureProfile) -> str:
    return " with other parameters" if own.name == profile.name else ""


def _require_spectrograms(generator: Generator, spectrograms: FloatArray) -> None:
    """Raises: InvalidArgument for a generator that gives something else."""
    if spectrograms.shape[1:] != generator.spectrogram_shape or not np.isfinite(spectrograms).all():
        raise InvalidArgument(
            "generator",
            f"{generator.named} gives {list(spectrograms.shape)} for {PROBES} latents"
            f"{'' if np.isfinite(spectrograms).all() else ', with NaN or infinity among it'}; expected finite "
            f"{[PROBES, *generator.spectrogram_shape]}",
        )


async def _probe(
    triton: Triton, model: Served, intake: Intake, ports: Sequence[Port], spectrograms: FloatArray
) -> dict[str, AnyFloats]:
    """What the classifier says of the spectrograms; asked twice, of other batches, it must say the same.

    Raises: InvalidArgument; NotRepeatable; ModelRefuses; InferenceUnavailable.
    """
    given = taken_by(intake, spectrograms)
    names = [port.name for port in ports]
    found = await triton.infer(model, {intake.port.name: given}, names)
    again = [await triton.infer(model, {intake.port.name: part}, names) for part in (given[:1], given[1:])]
    for name in names:
        values = found[name].astype(np.float64)
        if not np.isfinite(values).all():
            raise InvalidArgument(
                "classifier",
                f"{model.name!r} answers {name!r} with NaN or infinity for what the generator makes; mend it, or leave "
                "that output out by naming the layers",
            )
        if again[0][name].shape[1:] != again[1][name].shape[1:] or not _alike(
            values, np.concatenate([part[name] for part in again])
        ):
            raise NotRepeatable(
                f"{model.name!r} does not give a sound one answer: output {name!r} differs between two calls with the "
                "same sounds in other batches. It draws random numbers, keeps state, or computes over the batch; a "
                "search would find that instead of sounds"
            )
    return found


def kind_of(answers: AnyFloats) -> OutputKind:
    """What the answers are, by their values: all from 0 to 1 are probabilities."""
    return "probability" if bool(((answers >= 0) & (answers <= 1)).all()) else "logit"


def taken_by(intake: Intake, spectrograms: FloatArray) -> AnyFloats:
    """The spectrograms `[B, bands, frames]` as the model takes them; what the input adapter computes."""
    x = (spectrograms - np.float32(intake.offset)) / np.float32(intake.scale)
    x = x.transpose(0, 2, 1) if intake.frames_first else x
    return x.reshape(len(x), *intake.row_shape).astype(WIDTHS[intake.port.datatype])


def _alike(one: AnyFloats, other: AnyFloats) -> bool:
    scale = float(np.abs(one).max(initial=0))
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * scale))


def _identity(
    model: Served, generator: Generator, intake: Intake, sources: Sequence[Source], answers: Mapping[str, AnyFloats]
) -> str:
    """What stands for the weights, which nobody may read: how the model is served, how it is used, and what it says."""
    says = {name: [float(f"{value:.2e}") for value in values[:4].ravel()] for name, values in answers.items()}
    body: Any = [repr(model), generator.identity, repr(intake), repr(sources), says]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _notes(model: Served, sources: Sequence[Source], answers: Mapping[str, AnyFloats]) -> list[str]:
    """What is no reason to refuse, and good to know."""
    notes = []
    for source in sources:
        values = answers[source.port.name].reshape(PROBES, -1).astype(np.float64)
        if np.ptp(values, axis=0).max() == 0:
            notes.append(
                f"{source.layer.name} is the same for {PROBES} sounds of the generator: if it stays so, there is "
                "nothing to find; are the features, the axes and the scale those that it was trained on?"
            )
    left_out = [port.name for port in model.outputs if port.datatype not in FLOATS]
    if left_out:
        notes.append(f"outputs that are no floating-point numbers are no layers: {', '.join(left_out)}")
    if not model.batches and model.max_rows == 1:
        notes.append(f"{model.name} takes one sound at a time, so searches are slow; a max_batch_size helps")
    return notes


def _write(folder: Path, written: Written) -> None:
    (folder / VERSION).mkdir(parents=True)
    if written.content is not None:
        (folder / VERSION / "model.onnx").write_bytes(written.content)
    (folder / "config.pbtxt").write_text(config_text(written.config), encoding="utf-8")
