"""What a bundle says of itself: the metadata that travel in config.pbtxt `parameters`.

Export writes them (`BundleMetadata.to_parameters`), the explainer reads them back from Triton's model configuration
(`from_parameters`), so the model repository is the only registry (DESIGN.md §4).
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

from earwitness.errors import EarwitnessError
from earwitness.inference.recommendation import Recommendation, flaw

logger = logging.getLogger(__name__)

BUNDLE_PARAMETER = "earwitness"
"""Key of the one config.pbtxt parameter that holds the bundle as JSON."""

SCHEMA_VERSION = 1
Role = Literal["generator", "classifier", "search"]
ROLES: tuple[Role, ...] = ("generator", "classifier", "search")
FORWARD_ROLES: tuple[Role, ...] = ("generator", "classifier")
"""Those of a bundle without a search graph."""
LayerKind = Literal["dense", "conv", "output"]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)
OutputKind = Literal["logit", "probability"]
"""What the units of the output layer are."""
OUTPUT_KINDS: tuple[OutputKind, ...] = get_args(OutputKind)
ProbabilityKind = Literal["softmax", "sigmoid", "none"]
"""What makes a probability of logits: over all outputs, one of which is true; of each, several of which may be; or
nothing, for scores. Units that are probabilities need nothing either."""
PROBABILITY_KINDS: tuple[ProbabilityKind, ...] = get_args(ProbabilityKind)


def default_probability(output_count: int) -> ProbabilityKind:
    """That of bundles that do not say it: of one output or of several."""
    return "sigmoid" if output_count == 1 else "softmax"


def output_words(output: OutputKind, probability: ProbabilityKind | None, output_count: int) -> str:
    """What the units of an output layer are, for people."""
    kind = probability or default_probability(output_count)
    if output == "probability":
        return "probability, 0 to 1"
    if kind == "none":
        return "score"
    return f"logit, before a {kind}{' (multi-label)' if kind == 'sigmoid' and output_count > 1 else ''}"


class MetadataError(EarwitnessError):
    """The parameters of a served model do not describe an earwitness bundle."""

    code = "FAILED_PRECONDITION"
    reason = "METADATA_INVALID"


@dataclass(frozen=True)
class Layer:
    """A named classifier layer whose units are `first_unit ... first_unit + unit_count - 1` of the search graph's U."""

    name: str
    kind: LayerKind
    unit_count: int
    first_unit: int


@dataclass(frozen=True)
class UnitLabel:
    """What an output unit stands for: the word for a high activation and the word for a low one."""

    unit: int
    maximise: str
    minimise: str


@dataclass(frozen=True)
class BundleMetadata:
    """One explainable model: classifier + generator + features.

    `features` is the feature profile's `to_dict()`; `spectrogram_shape` is (bands, frames) of the classifier's input
    without batch and channel. `weights_sha256` covers all weights of the bundle and is the model's identity;
    `model_sha256` are the digests of its three files model.onnx, by which these can be told from any others. Bundles
    that were exported before there were such digests have none (None). Without `has_gradient` it has no search graph,
    and says so: one that is missing where it should be is never taken for none. `recommendations`, one for a unit and
    sense at most, are the settings that were found to explain it well. `output_kind` is what the units of the output
    layer are; `probability` makes probabilities of logits, None as `default_probability` has it.
    """

    name: str
    latent_size: int
    sample_rate_hz: int
    spectrogram_shape: tuple[int, int]
    layers: tuple[Layer, ...]
    labels: tuple[UnitLabel, ...]
    features: Mapping[str, Any]
    training_data: str
    weights_sha256: str
    model_sha256: Mapping[str, str] | None = None
    recommendations: tuple[Recommendation, ...] = ()
    has_gradient: bool = True
    output_kind: OutputKind = "logit"
    probability: ProbabilityKind | None = None

    @property
    def unit_count(self) -> int:
        """U: the units of all named layers together."""
        return sum(layer.unit_count for layer in self.layers)

    @property
    def output_layer(self) -> Layer:
        """The layer of the logits, or of the probabilities."""
        return next(layer for layer in self.layers if layer.kind == "output")

    @property
    def probability_kind(self) -> ProbabilityKind:
        """What makes the probability of the output layer's units."""
        if self.output_kind == "probability":
            return "none"
        return self.probability or default_probability(self.output_layer.unit_count)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Those that its models play."""
        return ROLES if self.has_gradient else FORWARD_ROLES

    def served_name(self, role: Role) -> str:
        """Triton's name of one of the bundle's models, e.g. `svd_r1_search`."""
        return f"{self.name.replace('-', '_')}_{role}"

    def to_parameters(self, role: Role) -> dict[str, str]:
        """config.pbtxt parameters of the model that plays `role`."""
        body = {"schema_version": SCHEMA_VERSION, "role": role, **asdict(self)}
        if self.model_sha256 is None:
            del body["model_sha256"]
        if not self.recommendations:
            del body["recommendations"]
        if self.has_gradient:  # as every bundle had before there were others
            del body["has_gradient"]
        if self.output_kind == "logit":
            del body["output_kind"]
        if self.probability is None:
            del body["probability"]
        return {BUNDLE_PARAMETER: json.dumps(body, sort_keys=True)}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "BundleMetadata":
        """The bundle described by a served model's parameters.

        Raises: MetadataError when they are absent, of another schema version, malformed, or when what they say cannot
        be; it names the model and the field.
        """
        try:
            body = json.loads(parameters[BUNDLE_PARAMETER])
            if body["schema_version"] != SCHEMA_VERSION:
                raise MetadataError(
                    f"parameter {BUNDLE_PARAMETER!r} has schema_version {body['schema_version']}, "
                    f"this version reads {SCHEMA_VERSION}: export the model again"
                )
            metadata = cls(
                name=body["name"],
                latent_size=body["latent_size"],
                sample_rate_hz=body["sample_rate_hz"],
                spectrogram_shape=tuple(body["spectrogram_shape"]),
                layers=tuple(Layer(**layer) for layer in body["layers"]),
                labels=tuple(UnitLabel(**label) for label in body["labels"]),
                features=body["features"],
                training_data=body["training_data"],
                weights_sha256=body["weights_sha256"],
                model_sha256=body.get("model_sha256"),
                recommendations=tuple(Recommendation(**each) for each in body.get("recommendations", ())),
                has_gradient=body.get("has_gradient", True),
                output_kind=body.get("output_kind", "logit"),
                probability=body.get("probability"),
            )
        except (KeyError, TypeError, ValueError) as err:
            raise MetadataError(f"parameter {BUNDLE_PARAMETER!r} is missing or malformed: {err!r}") from err
        _check(metadata)
        return metadata


def weights_in(parameters: Mapping[str, str]) -> str | None:
    """The weights named in a served model's config.pbtxt parameters; None if it belongs to no bundle."""
    try:
        return _described(parameters[BUNDLE_PARAMETER]).weights_sha256
    except (KeyError, MetadataError):
        return None


@lru_cache(maxsize=256)
def _described(body: str) -> BundleMetadata:
    """Asked at every call of a model, so kept. Raises: MetadataError."""
    return BundleMetadata.from_parameters({BUNDLE_PARAMETER: body})


def _check(bundle: BundleMetadata) -> None:
    """Raises: MetadataError naming the model and the first field whose value cannot be."""

    def require(holds: bool, field: str, value: object, words: str) -> None:
        if not holds:
            raise MetadataError(
                f"model {bundle.name!r}: {field} is {value!r}, expected {words}: export the model again"
            )

    for field in ("name", "training_data", "weights_sha256"):
        text = getattr(bundle, field)
        require(isinstance(text, str) and bool(text or field == "training_data"), field, text, "text")
    for field in ("latent_size", "sample_rate_hz"):
        require(_positive(getattr(bundle, field)), field, getattr(bundle, field), "a whole number from 1 up")
    require(isinstance(bundle.has_gradient, bool), "has_gradient", bundle.has_gradient, "true or false")
    require(bundle.output_kind in OUTPUT_KINDS, "output_kind", bundle.output_kind, f"one of {', '.join(OUTPUT_KINDS)}")
    kinds = ("none",) if bundle.output_kind == "probability" else PROBABILITY_KINDS
    require(bundle.probability in (None, *kinds), "probability", bundle.probability, f"one of {', '.join(kinds)}")
    digests = bundle.model_sha256
    fits = digests is None or (
        isinstance(digests, Mapping) and {*digests} == {*bundle.roles} and all(map(_digest, digests.values()))
    )
    require(fits, "model_sha256", digests, f"a SHA-256 in lower-case hex for each of {', '.join(bundle.roles)}")
    shape = bundle.spectrogram_shape
    require(len(shape) == 2 and all(map(_positive, shape)), "spectrogram_shape", shape, "bands and frames, from 1 up")
    require(isinstance(bundle.features, Mapping), "features", bundle.features, "the parameters of a feature profile")
    first = 0
    for index, layer in enumerate(bundle.layers):
        at = f"layers[{index}]"
        earlier = {each.name for each in bundle.layers[:index]}
        require(isinstance(layer.name, str) and bool(layer.name), f"{at}.name", layer.name, "a name")
        require(layer.name not in earlier, f"{at}.name", layer.name, "a name of its own")
        require(layer.kind in LAYER_KINDS, f"{at}.kind", layer.kind, f"one of {', '.join(LAYER_KINDS)}")
        require(_positive(layer.unit_count), f"{at}.unit_count", layer.unit_count, "a whole number from 1 up")
        require(layer.first_unit == first, f"{at}.first_unit", layer.first_unit, f"{first}, where the one before ends")
        first += layer.unit_count
    outputs = [layer.name for layer in bundle.layers if layer.kind == "output"]
    require(len(outputs) == 1, "layers of kind output", outputs, "exactly one")
    labelled = [label.unit for label in bundle.labels]
    units = range(bundle.output_layer.unit_count)
    fits = all(type(unit) is int and unit in units for unit in labelled) and len(set(labelled)) == len(labelled)
    require(fits, "labels[].unit", labelled, f"units of {outputs[0]} from 0 to {units[-1]}, each once")
    _check_recommendations(bundle)


def _check_recommendations(bundle: BundleMetadata) -> None:
    """Raises: MetadataError naming the model and the first field whose value cannot be."""
    unit_counts = {layer.name: layer.unit_count for layer in bundle.layers}
    aims = set()
    for index, each in enumerate(bundle.recommendations):
        found = flaw(each, unit_counts)
        if found is None and each.aim in aims:
            found = "unit", each.aim, "one recommendation for each unit and sense"
        if found is not None:
            field, value, expected = found
            raise MetadataError(
                f"model {bundle.name!r}: recommendations[{index}].{field} is {value!r}, expected {expected}: "
                "take it out of the config.pbtxt, or export the model again"
            )
        aims.add(each.aim)


def _positive(value: object) -> bool:
    return type(value) is int and value >= 1


def _digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


@dataclass(frozen=True)
class Bundles:
    """The bundles among served models: `usable` ones sorted by name, and why others, by name, are none of them."""

    usable: tuple[BundleMetadata, ...]
    left_out: Mapping[str, str]


def find_bundles(parameters: Mapping[str, Mapping[str, str]], unready: Mapping[str, str] | None = None) -> Bundles:
    """The bundles whose models, three or without a search graph two, are all among the served models.

    `parameters` maps each served model's name to its config.pbtxt parameters, `unready` the names of those that are
    there and cannot be run to the reason. Models that are not of earwitness are passed over; a bundle whose models are
    malformed, missing or inconsistent is left out and logged.
    """
    described = {}
    left_out = {name: f"{of}: {why}" for of, why in (unready or {}).items() if (name := bundle_name(of)) != of}
    for served_name, of_model in parameters.items():
        if BUNDLE_PARAMETER in of_model:
            try:
                described[served_name] = BundleMetadata.from_parameters(of_model)
            except MetadataError as err:
                left_out[bundle_name(served_name)] = f"model {served_name}: {err}"
    usable = {}
    for bundle in described.values():
        missing = [bundle.served_name(role) for role in bundle.roles if bundle.served_name(role) not in described]
        members = [described[bundle.served_name(role)] for role in ROLES if bundle.served_name(role) in described]
        if missing:
            none = "; a bundle without one says so (has_gradient)" if missing == [bundle.served_name("search")] else ""
            left_out.setdefault(bundle.name, f"{' and '.join(missing)} cannot be run, or there is none{none}")
        elif any(member != bundle for member in members) and all(
            replace(member, recommendations=()) == replace(bundle, recommendations=()) for member in members
        ):
            left_out[bundle.name] = "its models carry different recommendations; `earwitness stamp` makes them the same"
        elif any(replace(member, model_sha256=None) != replace(bundle, model_sha256=None) for member in members):
            left_out[bundle.name] = "its models were exported from different weights; export the model again"
        elif any(member != bundle for member in members):
            left_out[bundle.name] = "its models were written by different exports; export the model again"
        elif len(members) > len(bundle.roles):
            extra = bundle.served_name("search")
            left_out[bundle.name] = f"{extra} is there, but the bundle says that it has none; take it away"
        elif bundle.name not in left_out:
            usable[bundle.name] = bundle
    for name, why in left_out.items():
        warn_once(f"models/{name} is left out: {why}")
    return Bundles(tuple(usable[name] for name in sorted(usable)), {name: left_out[name] for name in sorted(left_out)})


def complete_bundles(parameters: Mapping[str, Mapping[str, str]]) -> tuple[BundleMetadata, ...]:
    """The usable ones of `find_bundles`."""
    return find_bundles(parameters).usable


def bundle_name(served_name: str) -> str:
    """The bundle of a served model, by its name: `svd-r1` for `svd_r1_search`; another model's own name."""
    name, _, role = served_name.rpartition("_")
    return name.replace("_", "-") if role in ROLES else served_name


@lru_cache(maxsize=256)
def warn_once(message: str) -> None:
    """Health asks for the bundles every second; once is enough."""
    logger.warning("%s", message)
