"""Values of the contract's enums, as the words that values use: SENSE_MAXIMISE is "maximise"."""

from typing import Any

from google.protobuf.descriptor import EnumDescriptor

from earwitness.errors import InvalidArgument


def _prefix(enum: EnumDescriptor) -> str:
    return str(enum.values_by_number[0].name).removesuffix("UNSPECIFIED")


def word(enum: EnumDescriptor, number: int, field: str) -> Any:
    """The word of a number. Raises: InvalidArgument listing the names that are allowed."""
    found = enum.values_by_number.get(number)
    if found is None or not number:
        allowed = ", ".join(each.name for each in enum.values if each.number)
        raise InvalidArgument(field, f"is {number}, which is unset or unknown; must be one of {allowed}")
    return found.name.removeprefix(_prefix(enum)).lower()


def number(enum: EnumDescriptor, word: str) -> Any:
    """The number of a word. Raises: KeyError."""
    return enum.values_by_name[f"{_prefix(enum)}{word.upper()}"].number


def count(enum: EnumDescriptor) -> int:
    """How many words there are."""
    return len(enum.values) - 1
