"""Commands whose options come in groups: a parameter that is a dataclass takes the options that its fields describe."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

Command = TypeVar("Command", bound=Callable[..., None])


def grouped(command: Command) -> Command:
    """`command` with each dataclass among its parameters replaced by the dataclass's fields, in place.

    Fields are annotated as typer has options, and have defaults as the dataclass says. Names of fields and parameters
    are those of the command line, so all of a command's differ.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind))
            continue
        assert isinstance(kind, type)
        groups[parameter.name] = kind
        own = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(
                each.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=each.default, annotation=own[each.name]
            )
            for each in fields(kind)
        ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        values = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)}) for name, kind in groups.items()
        }
        command(**values, **given)

    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    del called.__wrapped__  # inspect would read the signature through it
    return cast(Command, called)
