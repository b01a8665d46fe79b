"""What the database holds of sweeps, as values: plans, rankings and failures are kept as messages of the contract."""

from functools import lru_cache

from google.protobuf.any_pb2 import Any
from google.rpc import status_pb2

from earwitness.explainer.sweep.record import Failure
from earwitness.explainer.v1 import explainer_pb2 as pb
from earwitness.vocabulary.messages.sweep import plan_message, plan_value, ranking_message, ranking_value
from earwitness.vocabulary.names import SWEEPS
from earwitness.vocabulary.sweep import SweepPlan, SweepRanking

REMEMBERED = 16
"""Plans that were read lately are not decoded again: a sweep that runs or is watched is read many times a minute. Not
many, as the weights of a plan may take megabytes."""


def plan_bytes(plan: SweepPlan, resumed_from: str) -> bytes:
    """What was asked for: the same bytes for the same sweep."""
    message = plan_message(plan)
    message.resumed_from = f"{SWEEPS}/{resumed_from}" if resumed_from else ""
    return message.SerializeToString(deterministic=True)


@lru_cache(REMEMBERED)
def plan_of(body: bytes) -> tuple[SweepPlan, str]:
    """The plan, and the id of the sweep that it resumes, "" for none."""
    message = pb.Sweep.FromString(body)
    return plan_value(message), message.resumed_from.removeprefix(f"{SWEEPS}/")


def ranking_bytes(ranking: SweepRanking) -> bytes:
    """The ranking of an objective."""
    return ranking_message(ranking).SerializeToString()


def ranking_of(body: bytes) -> SweepRanking:
    """The ranking of an objective."""
    return ranking_value(pb.SweepRanking.FromString(body))


def failure_message(failure: Failure) -> status_pb2.Status:
    """A failure as callers see it."""
    details = [Any(type_url=name, value=value) for name, value in failure.details]
    return status_pb2.Status(code=failure.code, message=failure.message, details=details)


def failure_value(message: status_pb2.Status) -> Failure:
    """A failure as callers see it."""
    return Failure(message.code, message.message, tuple((each.type_url, each.value) for each in message.details))


def failure_bytes(failure: Failure) -> bytes:
    """A failure."""
    return bytes(failure_message(failure).SerializeToString())


def failure_of(body: bytes) -> Failure:
    """A failure."""
    return failure_value(status_pb2.Status.FromString(body))
