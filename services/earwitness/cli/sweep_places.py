"""Where commands find a sweep: by its id in the explainer, or saved in a folder."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.cli.connection import Connection, inference_backend

if TYPE_CHECKING:
    from earwitness.client import ScorerClient, Sweep
    from earwitness.client.sweep_sources import SweepSource
    from earwitness.inference.backend import InferenceBackend


def is_folder(word: str) -> bool:
    """Whether a word on the command line names a folder, not a sweep's id."""
    return "/" in word or Path(word).is_dir()


def holds_archive(folder: Path) -> bool:
    """Whether a sweep was saved to a folder."""
    from earwitness.client.sweep_archive import ARCHIVE_FILE

    return (folder / ARCHIVE_FILE).is_file()


@dataclass(frozen=True)
class SweepPlaces:
    """The services as options name them; see `Connection` and `inference_backend`."""

    connection: Connection
    explainer: str | None
    scorer: str | None
    triton: str | None
    model_repository: Path | None
    data: Path | None

    async def read(self, word: str) -> "Sweep":
        """The sweep that `word` names. Raises: InvalidArgument for a folder without one; RpcFailure."""
        from earwitness.client.sweep_archive import read_archive

        if is_folder(word):
            return read_archive(Path(word)).sweep
        async with self.connection.sweeps(self.explainer, self.data) as client:
            return await client.get(word)

    async def source(
        self,
        word: str,
        opened: AsyncExitStack,
        backend: "InferenceBackend | None" = None,
        *,
        references: bool = True,
    ) -> "SweepSource":
        """The same with its explanations, those of a folder made by `backend`, by default what the options name; it
        holds as long as `opened`. Without `references` the scorer is not needed.

        Raises: as `read`.
        """
        from earwitness.client.sweep_archive import read_archive
        from earwitness.client.sweep_sources import LiveSweep, RenderedSweep

        if is_folder(word):
            return RenderedSweep(read_archive(Path(word)), backend or self._backend(opened))
        client = await opened.enter_async_context(self.connection.sweeps(self.explainer, self.data))
        models = await opened.enter_async_context(self.connection.explainer(self.explainer, self.data))
        scorer = None
        if references:
            scorer = await opened.enter_async_context(self.connection.scorer(self.scorer, self.data))
        found = await client.get(word)
        return LiveSweep(client, scorer, found, await models.get_model(found.model))

    async def ranked(
        self, folder: str, opened: AsyncExitStack, scorer: "ScorerClient", references: Sequence[str], *, by_unit: bool
    ) -> "SweepSource":
        """The sweep in a folder with a ranking of its own. Raises: as `read` and `SavedSweep.ranked`."""
        from earwitness.client.sweep_archive import read_archive
        from earwitness.client.sweep_sources import RenderedSweep

        saved = await read_archive(Path(folder)).ranked(scorer, references, by_unit=by_unit)
        return RenderedSweep(saved, self._backend(opened))

    def _backend(self, opened: AsyncExitStack) -> "InferenceBackend":
        backend = inference_backend(self.triton, self.model_repository, self.data)
        opened.push_async_callback(backend.close)
        return backend
