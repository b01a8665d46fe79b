"""Values to protobuf and back."""

import hashlib

import numpy as np
import pytest

from earwitness.client import explainer_messages, scorer_messages
from earwitness.client.values import Objective, Row, Search, Selection, Settings
from earwitness.explainer.v1 import explainer_pb2
from earwitness.rpc import tensors
from earwitness.scorer.v1 import scorer_pb2
from earwitness.vocabulary.limits import MAX_CHUNK_BYTES
from earwitness.vocabulary.messages.reference import reference_value, selection_message
from earwitness.vocabulary.messages.search import search_message, settings_message


def test_what_is_not_set_stays_unset() -> None:
    message = settings_message(Settings())
    assert not message.ListFields()
    message = settings_message(Settings(prior_weight=0.0, steps=5))
    assert message.HasField("prior_weight")
    assert not message.HasField("learning_rate")


def test_rows_keep_their_own_objective_and_settings() -> None:
    direction = Objective("fc8", direction={2: 0.5, 0: -1.0}, sense="minimise")
    search = Search("m", (Row(1), Row(2, direction, Settings("sgd", steps=9))), Objective("fc9", 0))
    message = search_message(search)
    assert message.model == "models/m"
    assert not message.rows[0].HasField("objective")
    assert not message.rows[0].HasField("settings")
    found = message.rows[1].objective.direction
    assert dict(zip(found.units, found.weights, strict=True)) == {2: 0.5, 0: -1.0}
    assert message.rows[1].objective.sense == explainer_pb2.SENSE_MINIMISE
    assert message.rows[1].settings.optimiser == explainer_pb2.OPTIMISER_SGD


def test_explanation_comes_back_with_the_numbers_people_wrote() -> None:
    message = explainer_pb2.Explanation(
        row_index=1,
        seed=5,
        objective=explainer_pb2.Objective(layer="fc9", unit=0, sense=explainer_pb2.SENSE_MAXIMISE),
        settings=explainer_pb2.Settings(
            optimiser=explainer_pb2.OPTIMISER_ADAM, learning_rate=0.01, prior_weight=0.001, steps=3, weight_decay=0
        ),
        activation=0.1,
        latent=tensors.encode(np.arange(4, dtype=np.float32)),
        spectrogram=tensors.encode(np.ones((2, 3), np.float32)),
        layer_activations=tensors.encode(np.array([0.1], np.float32)),
    )
    value = explainer_messages.explanation_value(message)
    assert value.settings == Settings("adam", 0.01, 0.001, 3, 0.0)  # not 0.009999999776
    assert value.activation == 0.1
    assert value.objective == Objective("fc9", 0)
    assert (value.audio_wav, value.audio_gain, value.picture_png, value.trajectory) == (None, None, None, None)
    np.testing.assert_array_equal(value.latent, [0, 1, 2, 3])


@pytest.mark.parametrize("selection", [Selection(), Selection("top", 1, 50), Selection("bottom", 0, 2)])
def test_selection_there_and_back(selection: Selection) -> None:
    message = scorer_pb2.Reference(selection=selection_message(selection))
    assert reference_value(message).selection == selection


@pytest.mark.parametrize(
    "first",
    [
        scorer_pb2.AppendActivationsRequest(header=scorer_pb2.ShardHeader(shard_id="s")),
        scorer_pb2.MergeStatisticsRequest(header=scorer_pb2.PartialHeader(shard_id="s")),
    ],
)
def test_shards_go_in_chunks_after_their_header(
    first: scorer_pb2.AppendActivationsRequest | scorer_pb2.MergeStatisticsRequest,
) -> None:
    data = bytes(2 * MAX_CHUNK_BYTES + 1)
    header, *chunks = scorer_messages.shard_messages(first, data)
    assert header is first
    assert [len(part.chunk) for part in chunks] == [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 1]
    assert b"".join(part.chunk for part in chunks) == data


def test_statistics_that_are_not_those_announced_are_refused() -> None:
    rows = np.ones((2, 3), np.float32)
    data = rows.tobytes()
    header = scorer_pb2.StatisticsHeader(
        reference=scorer_pb2.Reference(name="references/r", unit_count=3),
        version=scorer_pb2.ReferenceVersion(row_count=2),
        sha256=hashlib.sha256(data).hexdigest(),
        form=scorer_pb2.PARTIAL_FORM_ROWS,
    )
    value = scorer_messages.statistics_value(header, data)
    assert (value.reference.name, value.version.row_count, value.partial.row_count) == ("r", 2, 2)
    np.testing.assert_array_equal(value.partial.rows, rows)
    with pytest.raises(ValueError, match="20 bytes came"):
        scorer_messages.statistics_value(header, data[:-4])
    header.form = scorer_pb2.PARTIAL_FORM_MOMENTS
    with pytest.raises(ValueError, match="shape mismatch"):
        scorer_messages.statistics_value(header, data)
