"""The reference of a Python package in Markdown: what its `__all__` names, from docstrings."""

import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType


def client_page(name: str) -> str:
    """Clients first, then functions, values, constants; each by its name.

    Raises: ModuleNotFoundError, AttributeError where there is no such package, or no `__all__` in it.
    """
    return "\n".join(_lines(import_module(name)))


def _lines(module: ModuleType) -> Iterator[str]:
    things = {name: getattr(module, name) for name in module.__all__}
    classes = {name: thing for name, thing in things.items() if inspect.isclass(thing)}
    clients = {name for name in classes if name.endswith("Client")}
    failures = {name for name, thing in classes.items() if issubclass(thing, BaseException)}
    functions = {name for name, thing in things.items() if inspect.isfunction(thing)}
    yield from _section("Clients", "autoclass", clients, module)
    yield from _section("Functions", "autofunction", functions, module)
    yield from _section("Values", "autoclass", classes.keys() - clients - failures, module)
    yield from _section("Failures", "autoexception", failures, module)
    yield from _section("Constants", "autodata", things.keys() - classes.keys() - functions, module)


def _section(title: str, directive: str, names: Iterable[str], module: ModuleType) -> Iterator[str]:
    yield f"\n## {title}\n\n```{{eval-rst}}"
    yield from (f".. {directive}:: {module.__name__}.{name}\n" for name in sorted(names))
    yield "```"
