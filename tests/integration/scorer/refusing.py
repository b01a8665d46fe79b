"""What tests of refusals share: some rows, a partial with something wrong, and what must not have changed."""

from typing import Any

import grpc
import numpy as np

from earwitness.client.partials import Moments, Partial
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import UNITS, Running, partial_parts, rows_of, scoring

ROWS = rows_of(10)
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def moments(**changes: Any) -> list[pb.MergeStatisticsRequest]:
    """The messages of a partial of ten rows of which something is wrong: a field of the header, or of the moments."""
    values = {"row_count": 10, "mean": np.zeros(UNITS), "minimum": -np.ones(UNITS), "maximum": np.ones(UNITS)}
    values |= {"scatter": 5 * np.eye(UNITS)} | changes
    made = Moments(*(values.pop(each) for each in ("mean", "scatter", "minimum", "maximum")))
    return partial_parts(Partial(10, made), **values)


async def state(scorer: Running) -> list[pb.Reference]:
    return list((await scorer.stub.ListReferences(pb.ListReferencesRequest())).references)


async def assert_works(scorer: Running) -> None:
    """Not only alive: it still counts."""
    await scorer.frozen_reference(ROWS, "alive")
    assert (await scorer.stub.Score(scoring(ROWS, reference="references/alive"))).score.row_count == 10
