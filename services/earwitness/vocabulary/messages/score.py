"""Scores, and what they are ranked by, as they travel."""

from typing import Any

from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.vocabulary.score import Criterion, RankedBatch, Score

_SCORE = tuple(field.name for field in pb.Score.DESCRIPTOR.fields)
"""The same on both sides."""
_PLACE = ("rank", "probability_best", "leaves_range", "criterion_value")


def score_message(score: Score) -> pb.Score:
    """A score, field by field."""
    return pb.Score(**{name: getattr(score, name) for name in _SCORE})


def score_value(message: pb.Score) -> Score:
    """A score, field by field."""
    return Score(**{name: getattr(message, name) for name in _SCORE})


def place(ranked: Any) -> dict[str, Any]:
    """What is said of a batch's place by those names on both sides: all but the batch and its score."""
    return {name: getattr(ranked, name) for name in _PLACE}


def ranked_message(ranked: RankedBatch) -> pb.RankedBatch:
    """A batch with its place."""
    return pb.RankedBatch(id=ranked.id, score=score_message(ranked.score), **place(ranked))


def ranked_value(message: pb.RankedBatch) -> RankedBatch:
    """A batch with its place."""
    return RankedBatch(id=message.id, score=score_value(message.score), **place(message))


def criterion_message(criterion: Criterion) -> pb.Criterion:
    """The message of a criterion."""
    message = pb.Criterion(outside_range_allowed=criterion.outside_range_allowed)
    if criterion.kind == "distance":
        message.layer_distance.CopyFrom(pb.Criterion.LayerDistance(layers=criterion.layers))
    elif criterion.kind == "nearness":
        message.layer_nearness.CopyFrom(
            pb.Criterion.LayerNearness(layers=criterion.layers, neighbour_count=criterion.neighbour_count)
        )
    return message


def criterion_value(message: pb.Criterion) -> Criterion:
    """A criterion."""
    allowed = message.outside_range_allowed
    match message.WhichOneof("kind"):
        case "layer_distance":
            return Criterion("distance", tuple(message.layer_distance.layers), outside_range_allowed=allowed)
        case "layer_nearness":
            nearness = message.layer_nearness
            return Criterion("nearness", tuple(nearness.layers), nearness.neighbour_count, allowed)
        case _:
            return Criterion(outside_range_allowed=allowed)
