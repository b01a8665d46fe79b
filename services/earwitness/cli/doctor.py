"""`earwitness doctor`."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness import __version__
from earwitness.cli import console
from earwitness.cli.connection import Connection, Endpoints, data_folder, inference_backend
from earwitness.cli.options import Data, Explainer, Json, Scorer, Triton
from earwitness.cli.wording import translated

if TYPE_CHECKING:
    from earwitness.client.doctor import Finding
    from earwitness.inference.backend import InferenceBackend

QUICK_S = 8.0
"""Time for all checks of --quick, with a margin for starting up."""
SIGNS = {"ok": "ok", "warning": "WARNING", "failure": "FAILURE"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    explainer: Explainer = None,
    scorer: Scorer = None,
    triton: Triton = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Finish within 10 s: skip gradients, which need searches, and files.")
    ] = False,
    data: Data = None,
    model_repository: Annotated[
        Path | None,
        typer.Option(help="Folder of the served models, to check its files. Default: that of a stack here."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Check a deployment, and report what is wrong and what to do about it.

    It calls the services as any caller would: are they up, of this version, their clocks right, our token valid; is
    every layer's gradient right and its activation that of the classifier; are the model files those that were
    exported; do Triton and the explainer serve the same weights; do references match them; are limits enforced. It
    changes nothing, and exits with status 1 if a check fails. Triton is checked if --triton is given, files if
    --model-repository is, and both for the stack that runs here; in a cluster, often only the explainer can reach them.

    [bold]Examples[/bold]

      earwitness doctor

      earwitness doctor --quick

      earwitness --tls-ca ca.pem --token-file token doctor --explainer explainer.example:443 --scorer scorer.example:443
    """
    connection: Connection = context.obj
    found: list[Finding] = []

    async def examine() -> None:
        from earwitness.client.doctor import diagnose

        backend = _backend(triton, data)
        running = Endpoints.read(data_folder(data))
        repository = model_repository or (Path(running.model_repository) if running else None)
        try:
            async with connection.explainer(explainer, data) as asked, connection.scorer(scorer, data) as scores:
                async for finding in diagnose(
                    asked, scores, backend, version=__version__, repository=None if quick else repository, quick=quick
                ):
                    tell(finding)
        finally:
            if backend is not None:
                await backend.close()

    def tell(finding: "Finding") -> None:
        found.append(finding)
        if not json_output:
            _print(finding)

    async def examine_in_time() -> None:
        from earwitness.client.doctor import Finding

        try:
            async with asyncio.timeout(QUICK_S if quick else None):
                await examine()
        except TimeoutError:
            words = f"{QUICK_S:.0f} s were not enough to check all parts; parts not listed above were not checked"
            tell(Finding("doctor", "failure", words, "find out what answers slowly; without --quick there is no limit"))

    with console.progress("examining") if json_output else nullcontext():  # else the findings are progress enough
        asyncio.run(examine_in_time())
    if json_output:
        console.print_json([asdict(finding) for finding in found])
    else:
        console.show(_conclusion(found))
    if any(finding.level == "failure" for finding in found):
        raise typer.Exit(1)


def _backend(triton: str | None, data: Path | None) -> "InferenceBackend | None":
    if triton is None and Endpoints.read(data_folder(data)) is None:
        return None
    return inference_backend(triton, None, data)


def _conclusion(found: "Sequence[Finding]") -> str:
    failures, warnings = (sum(each.level == level for each in found) for level in ("failure", "warning"))
    if not failures and not warnings:
        return "all is well"
    return f"failures: {failures}, warnings: {warnings}"


def _print(finding: "Finding") -> None:
    console.show(f"{SIGNS[finding.level]:8} {finding.part}: {translated(finding.words, {})}")
    if finding.remedy:
        console.show(f"{'':8} → {finding.remedy}")
