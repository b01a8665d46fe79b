"""Reasons that services give, and the classes that callers catch them by."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import grpc
import pytest

from earwitness.client.errors import RpcFailure, failures
from earwitness.client.refusals import (
    BY_REASON,
    Overloaded,
    PreconditionFailed,
    ReferenceMismatch,
    Refusal,
    ResourceNotFound,
    SweepNotFound,
    TooManySearches,
)
from earwitness.errors import EarwitnessError
from earwitness.explainer import errors as explainer_errors
from earwitness.rpc.errors import DETAILS_KEY, status_of
from earwitness.scorer import errors as scorer_errors

ROOMS = ("explainer", "scorer", "inference", "rpc", "storage")
NEVER_SENT = {"CANNOT_LISTEN", "TRITON_START_FAILED", "TRITON_INSTALL_FAILED"}
"""Reasons of processes that do not start, and so answer nobody."""


class Failed(grpc.RpcError):  # type: ignore[misc]
    """A failed call, as gRPC raises it, for an exception of a server."""

    def __init__(self, err: EarwitnessError, domain: str = "earwitness") -> None:
        status = status_of(err, "r-1")
        self._code, self._details = grpc.StatusCode[err.code], status.message
        # same length, so that the packed message stays one
        self._trailers = ((DETAILS_KEY, status.SerializeToString().replace(b"earwitness", domain.encode())),)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailers


def raised(err: EarwitnessError, domain: str = "earwitness") -> RpcFailure:
    with pytest.raises(RpcFailure) as caught, failures("127.0.0.1:1"):
        raise Failed(err, domain)
    return caught.value


def classes(of: type[EarwitnessError] = EarwitnessError) -> Iterator[type[EarwitnessError]]:
    yield of
    for each in of.__subclasses__():
        yield from classes(each)


def given_reasons() -> set[str]:
    """Those of the house, and of every class in the rooms that a server runs."""
    for room in ROOMS:
        package = importlib.import_module(f"earwitness.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not {"__main__", "migrations"} & set(found.name.split(".")):
                importlib.import_module(found.name)
    homes = ("earwitness.errors", *(f"earwitness.{room}." for room in ROOMS))
    return {each.reason for each in classes() if each.__module__.startswith(homes)}


def test_every_reason_that_a_service_can_give_has_its_class() -> None:
    given = given_reasons()
    assert len(given) > 50
    assert given - NEVER_SENT - set(BY_REASON) == set(), "give each a class in client/refusals.py"
    assert set(BY_REASON) - given == {"FEATURES_INVALID"}, "nothing gives these reasons any more"


def test_each_class_is_of_one_reason_and_named_for_it() -> None:
    assert len(set(BY_REASON.values())) == len(BY_REASON)
    assert all(issubclass(each, Refusal) for each in BY_REASON.values())
    named = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each.__name__).upper(): each for each in BY_REASON.values()}
    for reason, each in BY_REASON.items():
        if reason in named:
            assert named[reason] is each, "a class that has the name of another's reason"


def test_a_mismatch_is_caught_by_its_class_with_all_that_the_server_said() -> None:
    failure = raised(scorer_errors.ReferenceMismatch("songs", "layer", "fc8", "fc9"))
    assert type(failure) is ReferenceMismatch
    assert isinstance(failure, PreconditionFailed)
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "REFERENCE_MISMATCH"
    assert failure.metadata == {"field": "layer", "batch": "fc8", "reference": "fc9"}
    assert str(failure).startswith("FAILED_PRECONDITION: layer of the batch is fc8")


def test_kinds_catch_theirs() -> None:
    missing = raised(explainer_errors.SweepNotFound("s1"))
    assert type(missing) is SweepNotFound
    assert isinstance(missing, ResourceNotFound)
    assert missing.resource_name == "sweeps/s1"
    busy = raised(explainer_errors.TooManySearches("32 run", retry_after_s=2.5))
    assert type(busy) is TooManySearches
    assert isinstance(busy, Overloaded)
    assert busy.retry_after_s == 2.5


def test_reasons_of_others_are_plain_failures() -> None:
    assert type(raised(explainer_errors.SweepNotFound("s1"), domain="someproxy.")) is RpcFailure

    class Newer(EarwitnessError):
        code = "FAILED_PRECONDITION"
        reason = "OF_A_NEWER_SERVER"

    newer = raised(Newer("not that"))
    assert type(newer) is RpcFailure
    assert newer.reason == "OF_A_NEWER_SERVER"
