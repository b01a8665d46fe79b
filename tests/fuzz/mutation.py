"""Wrong requests made of right ones: a few fields of a message changed, whatever message it is."""

from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from earwitness.types.v1.tensor_pb2 import Tensor
from tests.fuzz.values import NUMBER_BYTES, scalar

MANY = (2, 3, 5, 17, 1001, 3000, 100_000)
"""How often an entry of a list is repeated."""
MAX_MANY_BYTES = 200_000
DEPTH = 4
LONGEST_CHARS = 400_000
"""Far below what a message holds: gRPC itself refuses one that is larger."""
SHAPES: tuple[tuple[int, ...], ...] = (
    *((), (0,), (1,), (-1, 2), (0, 2), (1, 2), (2, 0), (1, 1, 20), (1,) * 500),
    *((2**32, 2**32), (2**62, 4), (2**63 - 1, 2), (-(2**63), 1)),
)
Slot = tuple[Message, FieldDescriptor]


def mutate(message: Message, random: Random, names: tuple[str, ...]) -> None:
    """Change one to three fields, each anywhere in the message; `names` are those that exist at the server."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        slots = _slots(message)
        if not slots:  # a request without fields
            return
        _mutate_field(*random.choice(slots), random, names)


def _slots(message: Message) -> list[Slot]:
    """Every field of a message and of those in it, set or not; of a long list only the first and last entries'."""
    found: list[Slot] = []
    for field in message.DESCRIPTOR.fields:
        found.append((message, field))
        if field.message_type is None:
            continue
        if field.is_repeated:
            entries = getattr(message, field.name)
            chosen = list(entries) if len(entries) <= 4 else [entries[0], entries[1], entries[-1]]
        else:
            chosen = [getattr(message, field.name)] if message.HasField(field.name) else []
        for each in chosen:
            found += _slots(each)
    return found


def _mutate_field(message: Any, field: FieldDescriptor, random: Random, names: tuple[str, ...]) -> None:
    if field.is_repeated:
        _mutate_list(message, field, random, names)
    elif field.message_type is not None:
        part = getattr(message, field.name)
        way = random.random()
        if way < 0.3:
            message.ClearField(field.name)
        elif way < 0.5:
            part.Clear()
            part.SetInParent()
        elif isinstance(part, Tensor) and way < 0.9:
            _mutate_tensor(part, random)
        else:
            part.SetInParent()
            _fill(part, random, names)
    elif random.random() < 0.15:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_STRING and random.random() < 0.3:
        setattr(message, field.name, _bend(getattr(message, field.name), random))
    elif field.type == FieldDescriptor.TYPE_BYTES and random.random() < 0.7:
        setattr(message, field.name, bend_bytes(getattr(message, field.name), random))
    else:
        setattr(message, field.name, scalar(field, random, names))


def _mutate_list(message: Any, field: FieldDescriptor, random: Random, names: tuple[str, ...]) -> None:
    entries = getattr(message, field.name)
    before = list(entries)
    way = random.random()
    if way < 0.15:
        message.ClearField(field.name)
        return
    if way < 0.3 and before:
        del entries[random.randrange(len(before))]
        return
    if way < 0.5 and before:
        again = random.choice(before)
        size = again.ByteSize() if field.message_type is not None else 1
        entries.extend([again] * min(random.choice(MANY), max(1, MAX_MANY_BYTES // (size + 1))))
        return
    if way < 0.6:
        random.shuffle(before)
        message.ClearField(field.name)
        getattr(message, field.name).extend(before)
        return
    if field.message_type is not None:
        _fill(entries.add(), random, names)
    elif before and way < 0.8:
        entries[random.randrange(len(before))] = scalar(field, random, names)
    else:
        entries.append(scalar(field, random, names))


def _fill(message: Any, random: Random, names: tuple[str, ...], depth: int = DEPTH) -> None:
    """Set fields at random."""
    for field in message.DESCRIPTOR.fields:
        if random.random() < 0.4:
            continue
        count = random.choice((0, 1, 2, 3)) if field.is_repeated else 1
        for _ in range(count):
            if field.message_type is not None:
                part = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
                if not field.is_repeated:
                    part.SetInParent()
                if depth > 0:
                    _fill(part, random, names, depth - 1)
            elif field.is_repeated:
                getattr(message, field.name).append(scalar(field, random, names))
            else:
                setattr(message, field.name, scalar(field, random, names))


def _mutate_tensor(tensor: Tensor, random: Random) -> None:
    """Type, shape and bytes that are at odds, and numbers that are none."""
    way = random.random()
    if way < 0.4:
        others = (tuple(reversed(tensor.shape)), (len(tensor.data) // 4 or 1, 1), (*tensor.shape, 1))
        shape = random.choice((*SHAPES, *others))
        del tensor.shape[:]
        tensor.shape.extend(shape)
    elif way < 0.55:
        tensor.datatype = random.choice(("FP64", "FP32", "FP16", "", "fp32", "F" * 5000))
    else:
        tensor.data = bend_bytes(tensor.data, random)


def bend_bytes(data: bytes, random: Random) -> bytes:
    """Bytes cut, stretched, or with a number in them that is none."""
    way = random.random()
    if way < 0.2:
        return data[: random.randrange(len(data) + 1)]
    if way < 0.4:
        return data + random.randbytes(random.choice((1, 4, 8, 1000)))
    number = random.choice(NUMBER_BYTES)
    start = 4 * random.randrange(len(data) // 4 + 1)
    if way < 0.9:
        return data[:start] + number + data[start + len(number) :]
    return number * (len(data) // len(number))


def _bend(text: str, random: Random) -> str:
    """A text that is nearly the same."""
    place = random.randrange(len(text) + 1)
    return random.choice(
        (
            text[:place] + random.choice("/.-_A0\0\né🎧 ") + text[place:],
            text[:place],
            text[:place] + text[place + 1 :],
            text.upper(),
            text + text,
            (text * 50)[:LONGEST_CHARS],
            f"/{text}",
            f"{text}/",
        )
    )
