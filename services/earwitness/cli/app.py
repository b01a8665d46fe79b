"""Puts the commands together; a failure is one line and status 1, a defect has its traceback and status 70."""

import inspect
import sys
import traceback
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer
from typer.core import TyperCommand

from earwitness import __version__
from earwitness.cli import (
    atlas,
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
    register,
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

EXPECTED = (EarwitnessError, OSError, TimeoutError)
"""Failures whose message says it all: wrong input, files, neighbours that do not answer. Whatever else is raised, a
plain ValueError too, is a defect."""
FAILURE_STATUS, DEFECT_STATUS = 1, 70
"""Exit statuses; 70 is EX_SOFTWARE of sysexits.h."""


class Command(TyperCommand):
    """A command that fails with one line on stderr and FAILURE_STATUS; `earwitness --debug` adds the traceback.

    A defect has its traceback in any case, and DEFECT_STATUS.
    """

    def invoke(self, ctx: Any) -> Any:
        """Raises: typer.Exit for whatever the command raises."""
        try:
            return super().invoke(ctx)
        except (typer.Abort, BrokenPipeError):
            raise
        except Exception as err:
            if hasattr(err, "exit_code"):  # typer's own: usage errors and exits
                raise
            expected = is_expected(err)
            if not expected or ctx.find_root().params.get("debug"):
                traceback.print_exception(err)
            typer.echo(f"error: {describe(err, options_of(ctx))}", err=True)
            raise typer.Exit(FAILURE_STATUS if expected else DEFECT_STATUS) from err


def is_expected(err: BaseException) -> bool:
    """False for a defect of ours, and for a group that holds one."""
    if isinstance(err, BaseExceptionGroup):
        return all(map(is_expected, err.exceptions))
    return isinstance(err, EXPECTED) or _is_rpc_failure(err)


def _is_rpc_failure(err: BaseException) -> "TypeGuard[RpcFailure]":
    """Without importing grpc where nothing has."""
    errors = sys.modules.get("earwitness.rpc.errors")
    return errors is not None and isinstance(err, errors.RpcFailure)


def describe(err: BaseException, options: Options = MappingProxyType({})) -> str:
    """One line for a person, who typed `options`: what failed and what to do."""
    if isinstance(err, BaseExceptionGroup):  # a defect first: the traceback is of all of them
        return describe(min(err.exceptions, key=is_expected), options)
    if _is_rpc_failure(err):
        return _describe_failure(err, options)
    if isinstance(err, InvalidArgument):
        return violation(err.field, " ".join(err.description.split()), options)
    if isinstance(err, OSError) and err.filename:
        return f"{err.filename}: {err.strerror}"
    text = " ".join(str(err).split())
    if isinstance(err, EXPECTED):
        return translated(text, options) or type(err).__name__
    return f"unexpected {type(err).__name__}: {text}; a defect of earwitness, please report it with the lines above"


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


for _command in (
    up, doctor, models, explain, sweep, recommend, atlas, score, eer, export, register, stamp, demo, bench,
):  # fmt: skip
    _command.register(app)
for _group in (sweeps, reference, train, evaluate, study, corpus, data):
    app.add_typer(_group.app)
for _typer in (app, sweeps.app, reference.app, train.app, evaluate.app, study.app, corpus.app, data.app):
    for _info in _typer.registered_commands:
        _info.cls = Command
        _info.help = flowing(inspect.getdoc(_info.callback) or "")
