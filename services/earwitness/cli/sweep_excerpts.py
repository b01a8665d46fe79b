"""The real recordings that a sweep's page plays beside its explanations."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from earwitness.cli import console
from earwitness.cli.connection import inference_backend
from earwitness.cli.flaws import Flaws
from earwitness.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from earwitness.client import Objective
    from earwitness.client.output import RealExcerpt

REAL = "Real audio beside the examples"
Recordings = Annotated[
    list[Path] | None,
    typer.Option(
        "--recordings",
        help="Audio files or folders, e.g. what the reference was built from: --out plays the excerpts that activate "
        "the objective most.",
        rich_help_panel=REAL,
    ),
]
RecordingsTriton = Annotated[
    str | None,
    typer.Option(
        "--triton",
        metavar="HOST:PORT",
        envvar="EARWITNESS_TRITON",
        help="Where the models run for --recordings, and for sounds of a folder. Default: the stack that runs here.",
        rich_help_panel=REAL,
    ),
]
RecordingsRepository = Annotated[
    Path | None,
    typer.Option(
        "--model-repository",
        help="Instead of Triton: run these models in this process, from this folder.",
        rich_help_panel=REAL,
    ),
]


@dataclass(frozen=True)
class RealAudio:
    """Recordings, and what runs the classifier on them: see `inference_backend`."""

    recordings: Sequence[Path]
    triton: str | None
    model_repository: Path | None
    data: Path | None
    flaws: Flaws = field(default_factory=Flaws)

    @classmethod
    def of(
        cls,
        paths: Sequence[Path] | None,
        out: Path | None,
        triton: str | None,
        model_repository: Path | None,
        data: Path | None,
        *,
        strict: bool = False,
    ) -> Self | None:
        """The recordings that options name, and which can be read; None without any.

        Raises: InvalidArgument for paths without audio that can be used, with `strict` for any that cannot, or without
        a page to play them.
        """
        from earwitness.client.references import find_recordings

        if not paths:
            return None
        if out is None:
            raise InvalidArgument("recordings", "are played by the page of --out; give it too")
        flaws = Flaws()
        return cls(find_recordings(paths, flaws, strict=strict), triton, model_repository, data, flaws)

    async def check(self, model: str, weights_sha256: str) -> None:
        """Make sure that the classifier that is to run is the one of the sweep: cheap, worth calling before it.

        Raises: FailedPrecondition; InvalidArgument for a model that is not served; InferenceUnavailable.
        """
        from earwitness.client.references import bundle_of

        backend = inference_backend(self.triton, self.model_repository, self.data)
        try:
            found = await bundle_of(backend, model)
        finally:
            await backend.close()
        if found.weights_sha256 != weights_sha256:
            raise FailedPrecondition(
                f"{backend.description} serves {model} with weights {found.weights_sha256[:12]}, the sweep is of "
                f"weights {weights_sha256[:12]}; choose where to classify the recordings (--triton, --model-repository)"
            )

    async def excerpts(
        self, model: str, objectives: "Sequence[Objective]", count: int, update: console.Update
    ) -> "tuple[tuple[RealExcerpt, ...], ...]":
        """For each objective the `count` excerpts that activate it most. Raises: as `top_excerpts`."""
        from earwitness.client.excerpts import top_excerpts

        backend = inference_backend(self.triton, self.model_repository, self.data)
        try:
            return await top_excerpts(
                backend,
                model=model,
                objectives=objectives,
                recordings=self.recordings,
                count=count,
                on_progress=lambda done, total: update(done, total, "recordings listened to"),
                on_flaw=self.flaws,
            )
        finally:
            await backend.close()

    @staticmethod
    def document(real: "RealAudio | None") -> dict[str, list[dict[str, str]]]:
        """What was wrong with the recordings, as JSON to be added to a command's."""
        return {"flaws": [] if real is None else real.flaws.document()}
