"""Checkpoints: a network with everything needed to rebuild, trust and export it, in one file."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from earwitness.errors import EarwitnessError, InvalidArgument
from earwitness.features import FeatureProfile, profile_from_dict
from earwitness.files import whole_file
from earwitness.training.networks import ReplayNetwork, SVDNet, make_generator

FORMAT_VERSION: Final = 1
ARCHITECTURES: Final[Mapping[str, Callable[..., nn.Module]]] = {
    "svdnet": SVDNet,
    "generator": make_generator,
    "replay": ReplayNetwork,
}
"""Every network a checkpoint can hold, by the name written into it."""
DETECTORS: Final = ("svdnet", "replay")
"""The architectures that can be explained."""


class CheckpointError(EarwitnessError):
    """A checkpoint cannot be used; the message names the file and the reason."""

    code = "INVALID_ARGUMENT"
    reason = "CHECKPOINT_UNUSABLE"


@dataclass(frozen=True)
class CheckpointMeta:
    """What a checkpoint says of its network, beside the weights.

    `arguments` rebuild the network, `features` is the feature profile's `to_dict()`, `labels` name the output units
    (unit → (word for a high activation, word for a low one)), `training` records corpus hash, seed, updates, metrics.
    """

    architecture: str
    arguments: Mapping[str, Any]
    features: Mapping[str, Any]
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, module: nn.Module, meta: CheckpointMeta) -> None:
    """Writes weights and `meta` to `path`, all or nothing."""
    _require_known(path, meta.architecture)
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    save_whole(path, {"format_version": FORMAT_VERSION, "meta": asdict(meta), "weights": weights})


def load_checkpoint(path: Path, *architectures: str) -> tuple[nn.Module, CheckpointMeta]:
    """The network in eval mode and its meta, read without running code from the file.

    Raises: CheckpointError when the file is missing, no checkpoint, of another format or of another architecture than
    one of `architectures`, or when its weights do not fit or are not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train one with `earwitness train`, or check the path")
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        version, weights = body["format_version"], body["weights"]
        meta = CheckpointMeta(**body["meta"])
    except Exception as err:
        raise CheckpointError(f"{path}: not an earwitness checkpoint ({err})") from err
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version}, this version reads {FORMAT_VERSION}; train the network again")
    if meta.architecture not in architectures:
        expected = " or ".join(map(repr, architectures))
        raise CheckpointError(f"{path}: holds the architecture {meta.architecture!r}, expected {expected}")
    _require_known(path, meta.architecture)
    try:
        module = ARCHITECTURES[meta.architecture](**meta.arguments)
        module.load_state_dict(weights)
    except (TypeError, InvalidArgument, RuntimeError) as err:
        raise CheckpointError(f"{path}: its weights or arguments do not fit {meta.architecture!r}: {err}") from err
    for name, value in module.state_dict().items():
        if not value.isfinite().all():
            raise CheckpointError(f"{path}: its weight {name!r} holds NaN or infinity; train the network again")
    return module.eval(), meta


def require_features(path: Path, meta: CheckpointMeta, profile: FeatureProfile, whose: str) -> None:
    """Raises: CheckpointError when the network in `path` was trained on other features than `whose` are."""
    if profile_from_dict(meta.features) != profile:
        raise CheckpointError(
            f"{path} was trained on features {meta.features.get('name')!r}, {whose} has {profile.name!r} or other "
            "parameters of it; give what was made with the same"
        )


def lineage(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Training records of a network, the newest first: each run began where the one after it in the list ended."""
    records = [training]
    while "init" in records[-1]:
        records.append(records[-1]["init"]["training"])
    return records


def other_corpus(what: str, trained_on: object, fingerprint: str) -> list[str]:
    """A warning where a network (`what` it is) was trained on another corpus than that of `fingerprint`; else none."""
    same = trained_on == fingerprint
    return [] if same else [f"the {what} was trained on another corpus, or another version of this one"]


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, which tells checkpoints apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_whole(path: Path, body: Mapping[str, Any]) -> None:
    """`torch.save`, all or nothing, even where the machine dies."""
    with whole_file(path, durable=True) as partial, partial.open("wb") as file:
        torch.save(dict(body), file)


def _require_known(path: Path, architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: architecture {architecture!r} is unknown; known: {', '.join(sorted(ARCHITECTURES))}"
        )
