"""Options in groups: typed as if the command had them all, handed over as the groups that it has."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from earwitness.cli.grouped import grouped


@dataclass(frozen=True)
class Load:
    rows: Annotated[int, typer.Option(help="Rows of a search.", min=1)] = 2
    sweep: Annotated[bool, typer.Option("--sweep/--no-sweep")] = True


@dataclass(frozen=True)
class Place:
    names: Annotated[list[str] | None, typer.Option("--name")] = None


def run(*words: str) -> tuple[int, str, list[object]]:
    app, given = typer.Typer(), list[object]()

    @app.command()
    @grouped
    def command(
        context: typer.Context,
        model: Annotated[str, typer.Argument()] = "svd-r1",
        load: Load = Load(),
        place: Place = Place(),
        force: Annotated[bool, typer.Option("--force")] = False,
    ) -> None:
        """Does it."""
        assert context.command.params
        given.extend((model, load, place, force))

    outcome = CliRunner().invoke(app, list(words), env={"COLUMNS": "100"})
    return outcome.exit_code, outcome.output, given


def test_groups_arrive_as_values() -> None:
    assert run()[2] == ["svd-r1", Load(), Place(), False]
    status, _, given = run("svd-r2", "--rows", "5", "--no-sweep", "--name", "a", "--name", "b", "--force")
    assert status == 0
    assert given == ["svd-r2", Load(5, False), Place(["a", "b"]), True]


def test_each_option_is_checked_and_explained() -> None:
    status, shown, given = run("--rows", "0")
    assert (status, given) == (2, [])
    assert "--rows" in shown
    shown = run("--help")[1]
    assert "Rows of a search." in shown
    assert "Does it." in shown
    assert "load" not in shown.lower()
    places = [shown.index(each) for each in ("--rows", "--no-sweep", "--name", "--force")]
    assert places == sorted(places), "in the order in which they are written"
