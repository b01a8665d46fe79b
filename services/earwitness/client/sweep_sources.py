"""Where a sweep is read from: the explainer that ran it, or a file, its explanations made again from their latents."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from earwitness.client.references import bundle_of
from earwitness.client.saved_sweep import SavedSweep
from earwitness.client.scorer import ScorerClient
from earwitness.client.sweep_values import Sweep
from earwitness.client.sweeps import SweepClient
from earwitness.client.values import Artefact, Explanation, FloatArray, Model, Reference
from earwitness.errors import FailedPrecondition, InvalidArgument
from earwitness.features import FeatureProfile, profile_from_dict, render_audio, render_picture
from earwitness.features.parameters import FeatureError
from earwitness.inference.backend import InferenceBackend


class SweepSource(Protocol):
    """A sweep, its model, and whatever more is asked for."""

    @property
    def sweep(self) -> Sweep: ...

    @property
    def model(self) -> Model: ...

    async def saved(self) -> SavedSweep:
        """The sweep with all that it found."""
        ...

    async def reference(self, objective_index: int) -> Reference | None:
        """What an objective is ranked against; None where it is not."""
        ...

    async def explanations(
        self, result_index: int, *, artefacts: Sequence[Artefact], rows: Sequence[int]
    ) -> tuple[Explanation, ...]:
        """The explanations of some rows of a result, given by their places among the seeds."""
        ...


@dataclass(frozen=True, eq=False)
class LiveSweep:
    """A sweep of the explainer behind `client`; every method raises RpcFailure. `scorer` has its references; without
    one they are not known."""

    client: SweepClient
    scorer: ScorerClient | None
    sweep: Sweep
    model: Model

    async def saved(self) -> SavedSweep:
        """See `SweepSource`. Raises: FailedPrecondition when the model is served with other weights now."""
        if self.model.weights_sha256 != self.sweep.weights_sha256:
            raise FailedPrecondition(
                f"sweep {self.sweep.sweep_id} is of {self.model.name} with weights {self.sweep.weights_sha256[:12]}, "
                f"those served now are {self.model.weights_sha256[:12]}; serve the model as it was, or sweep again"
            )
        done = [each.index for each in self.sweep.results if each.done]
        whole = {each.index: each for each in await self.client.results(self.sweep.sweep_id, done)}
        results = tuple(whole.get(each.index, each) for each in self.sweep.results)
        references = [await self.reference(index) for index in range(len(self.sweep.objectives))]
        return SavedSweep(replace(self.sweep, results=results), self.model, tuple(references))

    async def reference(self, objective_index: int) -> Reference | None:
        """See `SweepSource`."""
        ranking = self.sweep.ranking_of(objective_index)
        if self.scorer is None or ranking is None or not ranking.batches:
            return None
        return await self.scorer.get_reference(ranking.reference_version.partition("/")[0])

    async def explanations(
        self, result_index: int, *, artefacts: Sequence[Artefact], rows: Sequence[int]
    ) -> tuple[Explanation, ...]:
        """See `SweepSource`."""
        return await self.client.explanations(self.sweep.sweep_id, result_index, artefacts=artefacts, rows=rows)


@dataclass(frozen=True, eq=False)
class RenderedSweep:
    """A saved sweep whose explanations are made here: `backend` runs the generator. They have no trajectories."""

    kept: SavedSweep
    backend: InferenceBackend

    @property
    def sweep(self) -> Sweep:
        """See `SweepSource`."""
        return self.kept.sweep

    @property
    def model(self) -> Model:
        """See `SweepSource`."""
        return self.kept.model

    async def saved(self) -> SavedSweep:
        """See `SweepSource`."""
        return self.kept

    async def reference(self, objective_index: int) -> Reference | None:
        """See `SweepSource`."""
        return self.kept.references[objective_index]

    async def explanations(
        self, result_index: int, *, artefacts: Sequence[Artefact], rows: Sequence[int]
    ) -> tuple[Explanation, ...]:
        """See `SweepSource`.

        Raises: InvalidArgument, FailedPrecondition when the backend has not the model, or with other weights; as
        `profile_of`; InferenceUnavailable, InferenceFailed.
        """
        await require_weights(self.backend, self.sweep)
        profile = profile_of(self.model)
        latents = self.sweep.results[result_index].latents
        assert latents is not None
        bundle = await bundle_of(self.backend, self.model.name)
        inputs = {"z": np.ascontiguousarray(latents[list(rows)])}
        answer = await self.backend.infer(bundle.served_name("generator"), inputs, ["spectrogram"])
        drawn = [
            asyncio.to_thread(self._explanation, result_index, row, spectrogram, profile, artefacts)
            for row, spectrogram in zip(rows, answer["spectrogram"], strict=True)
        ]
        return tuple(await asyncio.gather(*drawn))

    def _explanation(
        self,
        result_index: int,
        row: int,
        spectrogram: FloatArray,
        profile: FeatureProfile,
        artefacts: Sequence[Artefact],
    ) -> Explanation:
        result, seed = self.sweep.results[result_index], self.sweep.seeds[row]
        assert result.latents is not None
        assert result.layer_activations is not None
        objective = self.sweep.objectives[result.objective_index].objective
        activation = float(result.activations[row])
        audio = render_audio(profile, spectrogram) if "audio" in artefacts else None
        title = f"{self.model.name}: {objective}, seed {seed}, activation {activation:.3g}"
        return Explanation(
            row_index=row,
            seed=seed,
            objective=objective,
            settings=result.settings,
            activation=activation,
            best_step=int(result.best_steps[row]),
            latent=result.latents[row],
            spectrogram=spectrogram,
            layer_activations=result.layer_activations[row],
            audio_wav=audio.wav if audio else None,
            audio_gain=audio.gain if audio else None,
            picture_png=render_picture(profile, spectrogram, title) if "picture" in artefacts else None,
            diverged_step=step if (step := int(result.diverged_steps[row])) >= 0 else None,
        )


def profile_of(model: Model) -> FeatureProfile:
    """What makes sound of the model's spectrograms. Raises: InvalidArgument for features that cannot be heard."""
    try:
        return profile_from_dict(model.features)
    except FeatureError as err:
        raise InvalidArgument("model", f"{model.name} has no features that can be heard ({err})") from err


async def require_weights(backend: InferenceBackend, sweep: Sweep) -> None:
    """Raises: InvalidArgument for a model that `backend` does not have; FailedPrecondition for one of other weights
    than those that were swept; InferenceUnavailable."""
    bundle = await bundle_of(backend, sweep.model)
    if bundle.weights_sha256 != sweep.weights_sha256:
        raise FailedPrecondition(
            f"{backend.description} serves {sweep.model} with weights {bundle.weights_sha256[:12]}, sweep "
            f"{sweep.sweep_id} is of weights {sweep.weights_sha256[:12]}; serve the model as it was, or sweep again"
        )
