"""Messages of sweeps."""

from dataclasses import replace
from datetime import UTC, datetime

from earwitness.explainer.sweep import convert
from earwitness.explainer.sweep.record import Progress, State, SweepRecord
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.vocabulary.objective import Objective
from earwitness.vocabulary.sweep import SweepObjective, SweepPlan

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_metadata_name_what_is_swept_and_stay_small() -> None:
    """A list holds those of many sweeps, and a watch sends them again and again."""
    direction = Objective("fc8", direction=dict.fromkeys(range(4096), 0.5))
    objectives = [SweepObjective(direction, f"references/r{number}") for number in range(100)]
    objectives[0] = replace(objectives[0], objective=Objective("fc8", 7))
    plan = SweepPlan("tiny", tuple(objectives))
    record = SweepRecord(
        1, "s1", plan, "tiny", "ab" * 32, 64, State.QUEUED, False, None, 1, Progress(), 9, 0, 4, NOW, NOW, None
    )
    found = convert.metadata(record)
    assert found.ByteSize() < 1000
    assert found.objective_count == 100
    assert [each.reference for each in found.objectives] == [f"references/r{number}" for number in range(8)]
    assert found.objectives[0].objective.unit == 7
    assert all(each.objective.direction == pb.Direction() for each in found.objectives[1:])
    assert all(each.objective.WhichOneof("target") == "direction" for each in found.objectives[1:])
