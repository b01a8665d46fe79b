"""What every refusal of the services has: a reason of its own, and resources that are named as in protos/."""

import importlib
import pickle
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from earwitness.detection.errors import BrokenScores
from earwitness.errors import EarwitnessError, InvalidArgument
from earwitness.explainer.errors import ModelNotFound, SweepNotFound
from earwitness.explainer.v1 import explainer_pb2
from earwitness.features import AudioError
from earwitness.inference.backend import InferenceUnavailable, ModelExchanged
from earwitness.scorer.errors import ReferenceExists, ReferenceNotFound, ShardExists, VersionNotFound
from earwitness.scorer.v1 import scorer_pb2

ROOMS = tuple(f"earwitness.{room}." for room in ("explainer", "scorer", "inference", "rpc", "storage"))


def own_classes(
    of: type[EarwitnessError] = EarwitnessError, rooms: tuple[str, ...] = ROOMS
) -> Iterator[type[EarwitnessError]]:
    """Those that the rooms define, of the services unless told others."""
    for each in of.__subclasses__():
        if each.__module__.startswith(rooms):
            yield each
        yield from own_classes(each, rooms)


def test_every_class_has_a_reason_of_its_own() -> None:
    for room in ROOMS:
        package = importlib.import_module(room.removesuffix("."))
        for found in pkgutil.walk_packages(package.__path__, room):
            if not {"__main__", "migrations"} & set(found.name.split(".")):
                importlib.import_module(found.name)
    classes = set(own_classes())
    assert len(classes) > 30
    servers = [each.__module__ for each in classes if each.__module__.startswith(ROOMS[:2])]
    strays = {module for module in servers if module not in ("earwitness.explainer.errors", "earwitness.scorer.errors")}
    assert strays == set(), "the tree of a service is drawn in its errors.py"
    inherited = sorted(each.__name__ for each in classes if "reason" not in vars(each))
    assert inherited == []
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", each.reason) for each in classes)
    assert [reason for reason, count in Counter(each.reason for each in classes).items() if count > 1] == []


def test_resource_types_are_messages_of_the_contract() -> None:
    messages = {
        message.full_name
        for file in (explainer_pb2.DESCRIPTOR, scorer_pb2.DESCRIPTOR)
        for message in file.message_types_by_name.values()
    }
    for error in (
        ModelNotFound("m", []),
        SweepNotFound("s"),
        ReferenceNotFound("r"),
        VersionNotFound("r", 2, 1),
        ReferenceExists("r"),
        ShardExists("r", "s"),
    ):
        assert error.resource_type in messages, error


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("steps", "is 0; give at least 1", metadata={"limit": "1"}),
        SweepNotFound("s"),
        BrokenScores(["a.txt: empty", "b.txt: empty"]),
        AudioError("a.wav: holds no samples"),
        ModelExchanged("tiny_search", "a" * 64, None),
        InferenceUnavailable("gone", retry_after_s=3.0),
    ],
)
def test_errors_of_worker_processes_arrive_whole(error: EarwitnessError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_nothing_of_the_tree_passes_for_a_defect() -> None:
    for room in ("training.export.errors", "training.datasets.problems", "training.run_folder", "detection.eer"):
        importlib.import_module(f"earwitness.{room}")
    tree = list(own_classes(rooms=("earwitness.",)))
    assert len(tree) > 70
    assert not [each.__name__ for each in tree if issubclass(each, ValueError | KeyError | TypeError)]
