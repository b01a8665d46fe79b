"""Which RPCs there are, and the requests drawn for each: the same ones for the same seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from google.longrunning import operations_pb2
from google.protobuf import text_format
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from earwitness.explainer.v1 import explainer_pb2
from earwitness.scorer.v1 import scorer_pb2
from tests.fuzz import requests
from tests.fuzz.mutation import mutate
from tests.fuzz.stage import Stage
from tests.fuzz.wire import mangle

RIGHT, BY_FIELD = 0.12, 0.62
"""Shares of the requests that are right, and that have wrong fields; the others have wrong bytes."""
REARRANGED = 0.3
"""Share of the callers' streams whose messages are not those, or not in that order; fewer where one is wanted."""
BREAKS_OFF = 0.03
"""Share of the callers' streams that end in the middle."""
SHOWN_CHARS, SHOWN_MESSAGES = 2000, 4


@dataclass(frozen=True)
class Rpc:
    """A method that one of the servers, "explainer" or "scorer", serves."""

    server: str
    method: MethodDescriptor
    baseline: requests.Baseline

    @property
    def path(self) -> str:
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def name(self) -> str:
        """Short, and different for each."""
        return f"{self.server} {self.method.name}"


@dataclass(frozen=True)
class Request:
    """Number `index` of its seed: the messages of one call, after which the caller may break off."""

    seed: int
    index: int
    messages: tuple[bytes, ...]
    breaks_off: bool = False

    def show(self, rpc: Rpc) -> str:
        """How to send it again, the bytes of its first messages, and what they say."""
        shown = [f"again: python -m tests.fuzz --rpc '{rpc.name}' --seed {self.seed} --only {self.index}"]
        for data in self.messages[:SHOWN_MESSAGES]:
            shown.append(f"bytes: {data!r}"[:SHOWN_CHARS])
            try:
                message = GetMessageClass(rpc.method.input_type).FromString(data)
            except DecodeError:
                continue
            shown.append(f"reads: {text_format.MessageToString(message, as_one_line=True)}"[:SHOWN_CHARS])
        return "\n".join(shown)


def every_rpc() -> list[Rpc]:
    """All methods of both servers. Raises: KeyError for one that has no right request to begin with."""
    explainer = explainer_pb2.DESCRIPTOR.services_by_name["ExplainerService"]
    operations = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
    scorer = scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"]
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    return [
        *_methods("explainer", explainer, requests.EXPLAINER),
        *_methods("explainer", operations, requests.OPERATIONS),
        *_methods("explainer", health, requests.HEALTH),
        *_methods("scorer", scorer, requests.SCORER),
        *_methods("scorer", health, requests.HEALTH),
    ]


def draw(rpc: Rpc, seed: int, index: int, stage: Stage) -> Request:
    """Right, wrong in some fields, or wrong in its bytes; names that only the server chooses are those of `stage`."""
    random = Random(f"{rpc.name} {seed} {index}")
    messages = rpc.baseline(random, stage)
    way = random.random()
    if RIGHT < way < RIGHT + BY_FIELD:
        # Of a stream, the first message says what the others are.
        chosen = messages[0] if random.random() < 0.7 else random.choice(messages)
        mutate(chosen, random, stage.names)
    data = [message.SerializeToString() for message in messages]
    if way > RIGHT + BY_FIELD:
        place = random.randrange(len(data))
        data[place] = mangle(data[place], random, lambda: _foreign(random, stage))
    if way > RIGHT and random.random() < (REARRANGED if rpc.method.client_streaming else REARRANGED / 10):
        data = _rearranged(data, random)
    if rpc.method.client_streaming and random.random() < BREAKS_OFF:
        return Request(seed, index, tuple(data[: random.randrange(len(data) + 1)][:-1]), breaks_off=True)
    return Request(seed, index, tuple(data))


def _methods(server: str, service: ServiceDescriptor, baselines: Mapping[str, requests.Baseline]) -> list[Rpc]:
    return [Rpc(server, method, baselines[method.name]) for method in service.methods]


def _foreign(random: Random, stage: Stage) -> bytes:
    """A message of any RPC."""
    baseline = random.choice([*requests.EXPLAINER.values(), *requests.OPERATIONS.values(), *requests.SCORER.values()])
    return random.choice(baseline(random, stage)).SerializeToString()


def _rearranged(messages: list[bytes], random: Random) -> list[bytes]:
    place = random.randrange(len(messages))
    return random.choice(
        (
            [],
            messages[:place],
            messages[:place] + messages[place + 1 :],
            [*messages, messages[place]],
            messages[::-1],
            [messages[0]] * 3,
            [*messages, b""],
        )
    )
