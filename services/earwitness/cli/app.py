"""Puts the commands together, and turns every failure into one line and a status other than 0."""

import inspect
import sys
import traceback
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from earwitness import __version__
from earwitness.cli import (
    bench,
    corpus,
    data,
    demo,
    doctor,
    eer,
    evaluate,
    explain,
    export,
    models,
    recommend,
    reference,
    score,
    stamp,
    study,
    sweep,
    sweeps,
    train,
    up,
)
from earwitness.cli.connection import Connection
from earwitness.cli.wording import Options, options_of, translated, violation
from earwitness.errors import EarwitnessError, InvalidArgument

if TYPE_CHECKING:
    from earwitness.rpc.errors import RpcFailure

EXPECTED = (EarwitnessError, OSError, ValueError, TimeoutError, FloatingPointError)
"""Failures whose message says it all: wrong input, files, neighbours that do not answer."""


class Command(TyperCommand):
    """A command that fails with one line on stderr and status 1; `earwitness --debug` adds the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Raises: typer.Exit with status 1 for whatever the command raises."""
        try:
            return super().invoke(ctx)
        except (typer.Abort, BrokenPipeError):
            raise
        except Exception as err:
            if hasattr(err, "exit_code"):  # typer's own: usage errors and exits
                raise
            if ctx.find_root().params.get("debug"):
                traceback.print_exception(err)
            typer.echo(f"error: {describe(err, options_of(ctx))}", err=True)
            raise typer.Exit(1) from err


def describe(err: BaseException, options: Options = MappingProxyType({})) -> str:
    """One line for a person, who typed `options`: what failed and what to do."""
    if isinstance(err, BaseExceptionGroup):
        return describe(err.exceptions[0], options)
    if "earwitness.rpc.errors" in sys.modules:
        from earwitness.rpc.errors import RpcFailure

        if isinstance(err, RpcFailure):
            return _describe_failure(err, options)
    if isinstance(err, InvalidArgument):
        return violation(err.field, " ".join(err.description.split()), options)
    if isinstance(err, OSError) and err.filename:
        return f"{err.filename}: {err.strerror}"
    text = " ".join(str(err).split())
    if isinstance(err, EXPECTED):
        return translated(text, options) or type(err).__name__
    return f"unexpected {type(err).__name__}: {text}; --debug before the command shows where"


def _describe_failure(failure: "RpcFailure", options: Options) -> str:
    if failure.violations:
        return violation(failure.violations[0].field, " ".join(failure.violations[0].description.split()), options)
    text = translated(" ".join(failure.message.split()), options)
    if failure.code.name == "UNAVAILABLE" and not failure.reason:
        return f"{text}; start the stack with `earwitness up`, or say where it runs (--explainer, --scorer, --triton)"
    if failure.code.name == "DEADLINE_EXCEEDED":
        return f"no answer in time: {text}"
    return text


def flowing(text: str) -> str:
    """A docstring whose paragraphs are one line each, so that help wraps them; indented ones stay as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(each if each.startswith(" ") else " ".join(each.split()) for each in paragraphs)


app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"earwitness {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="EARWITNESS_DEBUG")] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the bearer token for the services.", envvar="EARWITNESS_TOKEN_FILE"),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(help="PEM file of the authority to trust; turns TLS on.", envvar="EARWITNESS_TLS_CA"),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file with our certificate, for mutual TLS.", envvar="EARWITNESS_TLS_CERTIFICATE"),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(help="PEM file with its private key.", envvar="EARWITNESS_TLS_KEY"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hear what an audio network listens for, and know how far to trust what you hear.

    [bold]Start here[/bold]

      earwitness demo        everything once, from start to page

      earwitness up          the whole stack on this machine; then, in another terminal:

      earwitness explain svd-r1 --maximise --out out/vocal
    """
    context.obj = Connection(token_file, tls_ca, tls_certificate, tls_key)


for _command in (up, doctor, models, explain, sweep, recommend, score, eer, export, stamp, demo, bench):
    _command.register(app)
for _group in (sweeps, reference, train, evaluate, study, corpus, data):
    app.add_typer(_group.app)
for _typer in (app, sweeps.app, reference.app, train.app, evaluate.app, study.app, corpus.app, data.app):
    for _info in _typer.registered_commands:
        _info.cls = Command
        _info.help = flowing(inspect.getdoc(_info.callback) or "")
