"""A model repository as Triton is to see it: the models that can be run, and nothing else.

Triton takes every folder for a model, hidden ones and `lost+found` too, and starts with none where one is not.
"""

import re
from pathlib import Path

from earwitness.inference.integrity import take_inventory
from earwitness.inference.repository import ONNX_FILE, RepositoryError, ServedModel


def link_models(repository: Path, view: Path) -> None:
    """Fill the new folder `view` with links to the usable models of `repository`, as it is now.

    Raises: RepositoryError when there are none.
    """
    inventory = take_inventory(repository)
    if not inventory.models:
        reasons = "; ".join(f"models/{name}: {why}" for name, why in inventory.left_out.items())
        raise RepositoryError(f"model repository {repository} holds no model that can be used ({reasons})")
    for name, model in inventory.models.items():
        (view / name).mkdir(parents=True)
        for each in _parts(model):
            (view / name / each.name).symlink_to(each.resolve())


def _parts(model: ServedModel) -> list[Path]:
    """What is in a model's folder, but versions that hold no model."""
    folder = model.model_file.parents[1]
    return [each for each in folder.iterdir() if not re.fullmatch(r"\d+", each.name) or (each / ONNX_FILE).is_file()]
