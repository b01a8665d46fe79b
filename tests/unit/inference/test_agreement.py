"""Models that do not fit each other are told from those that do, by what they answer alone: by clients too."""

from pathlib import Path

import pytest

from earwitness.client import ScorerClient, Selection, build_reference
from earwitness.client.excerpts import top_excerpts
from earwitness.client.values import Objective
from earwitness.inference.agreement import ask_agreement
from earwitness.inference.backend import InconsistentModel, ModelUnusable
from earwitness.inference.local import LocalBackend
from tests.helpers.tiny_bundle import flip_a_bit, write_tiny_bundle


async def test_models_of_one_export_agree(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path).metadata
    backend = LocalBackend(tmp_path, threads=1)
    await ask_agreement(backend, bundle, list(bundle.layers))
    await backend.close()


async def test_no_reference_is_built_with_a_classifier_of_other_weights(tmp_path: Path) -> None:
    """Before anything is asked of the scorer: there is none. Layers that are right can be used."""
    bundle = write_tiny_bundle(tmp_path, digests=False).metadata
    flip_a_bit(tmp_path / "tiny_classifier/1/model.onnx")
    backend = LocalBackend(tmp_path, threads=1)
    await ask_agreement(backend, bundle, list(bundle.layers[:2]))
    with pytest.raises(InconsistentModel, match=r"layer 'fc3' by tiny_search are .* off those by tiny_classifier"):
        await build_reference(
            ScorerClient("127.0.0.1:1"), backend, "r", model="tiny", layer="fc3", selection=Selection(), recordings=[]
        )
    with pytest.raises(InconsistentModel):
        await top_excerpts(backend, model="tiny", objectives=[Objective("fc3", 0)], recordings=[], count=1)
    await backend.close()


async def test_a_damaged_model_is_named_to_clients(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    flip_a_bit(tmp_path / "tiny_classifier/1/model.onnx")
    backend = LocalBackend(tmp_path, threads=1)
    with pytest.raises(ModelUnusable, match=r"models/tiny cannot be used: .*tiny_classifier/1/model\.onnx"):
        await build_reference(
            ScorerClient("127.0.0.1:1"), backend, "r", model="tiny", layer="fc3", selection=Selection(), recordings=[]
        )
    await backend.close()
