"""Stores recommendations in the bundles of a model repository."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from earwitness.inference.integrity import take_inventory
from earwitness.inference.metadata import BundleMetadata
from earwitness.inference.recommendation import Recommendation
from earwitness.inference.repository import RepositoryError
from earwitness.inference.stamping import write_configurations


def find_bundle(repository: Path, name: str) -> BundleMetadata:
    """The bundle of that name in a repository, its files those that were exported.

    Raises: RepositoryError when there is none, or it cannot be used.
    """
    inventory = take_inventory(repository)
    for bundle in inventory.bundles:
        if bundle.name == name:
            return bundle
    if name in inventory.left_out:
        raise RepositoryError(f"{repository}: {name} cannot be used: {inventory.left_out[name]}")
    names = ", ".join(bundle.name for bundle in inventory.bundles) or "no model"
    raise RepositoryError(f"{repository} holds no model {name}; it has {names}")


def store(repository: Path, name: str, found: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Write recommendations into a bundle, in place of those that it has for the same units and senses; all that it has
    then, in the order of layers, units and senses. Models, weights and digests stay as they are.

    Raises: RepositoryError; OSError.
    """
    bundle = find_bundle(repository, name)
    layers = [layer.name for layer in bundle.layers]
    by_aim = {each.aim: each for each in (*bundle.recommendations, *found)}
    order = sorted(by_aim, key=lambda aim: (layers.index(aim[0]), aim[1], aim[2]))
    held = tuple(by_aim[aim] for aim in order)
    write_configurations(replace(bundle, recommendations=held), take_inventory(repository).models)
    return held
