"""Makes an atlas: activations of real excerpts and draws, from these what each unit responds to, then sounds and pages.

Whatever was done before is found in the folder; what comes of it depends on the request and the recordings alone.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earwitness.atlas.executing import Workers
from earwitness.atlas.gathering import Found, Means, OnProgress, Recording, drawn, hear, pool, searched
from earwitness.atlas.grouping import flat, group, selectivity
from earwitness.atlas.media import sound_suffix
from earwitness.atlas.page import write_pages
from earwitness.atlas.place import Place, close
from earwitness.atlas.responses import (
    Heard,
    Scorer,
    most_extreme,
    nearest_rows,
    real_rows,
    shown_rows,
    sign_of,
)
from earwitness.atlas.searching import Searcher, settings_for
from earwitness.atlas.showing import Shown, show
from earwitness.atlas.store import hold
from earwitness.atlas.values import Atlas, Request, SideReport, Sound, UnitKey, UnitReport, chosen_units
from earwitness.client import Model, Objective, Search, Settings
from earwitness.client.values import Sense
from earwitness.errors import InvalidArgument
from earwitness.features import OnFlaw, log_flaw, profile_from_dict
from earwitness.inference.backend import FloatArray

Side = tuple[UnitKey, Sense]
ORIGINS = 3
"""Recordings that a unit's page names."""


def make_atlas(
    place: Place,
    model: Model,
    layers: Sequence[str],
    ranges: Sequence[range],
    recordings: Sequence[Path],
    folder: Path,
    workers: Workers,
    request: Request,
    *,
    search: Searcher | None = None,
    on_progress: OnProgress = lambda done, total, words: None,
    on_flaw: OnFlaw = log_flaw,
) -> Atlas:
    """Write the atlas of the units of `layers` within `ranges` (none: all) into `folder`.

    `model` is as an explainer describes it; units and senses that are searched, not drawn, are searched by `search`.

    Raises: InvalidArgument before any work for what is not there, or recordings of which none can be read;
    FailedPrecondition for other weights at `place` than the model's, or a folder that is written by another process;
    InferenceUnavailable, RpcFailure; OSError, e.g. for a disk that is full.
    """
    units = chosen_units(model.layers, layers, ranges)
    if not units:
        raise InvalidArgument("layer", "names no unit; give --layer, or a --unit that it has")
    if not model.has_gradient and request.way in ("adam", "sgd", "normalised"):
        raise InvalidArgument("way", f"got {request.way}; {model.name} has no gradient: take walk or draws")
    try:
        bundle = place.bundle()
        if bundle.weights_sha256 != model.weights_sha256:
            raise InvalidArgument(
                "triton",
                f"serves {model.name} with weights {bundle.weights_sha256[:12]}, the explainer explains "
                f"{model.weights_sha256[:12]}; name servers of one model",
            )
        with hold(folder, bundle.name, bundle.weights_sha256) as store:
            means = Means(place, bundle, workers, store, on_progress)
            return _Making(means, model, units, request, folder).make(recordings, search, on_flaw)
    finally:
        close()


class _Making:
    def __init__(self, means: Means, model: Model, units: Sequence[UnitKey], request: Request, folder: Path) -> None:
        self._means, self._model, self._units = means, model, units
        self._request, self._folder = request, folder
        first = {layer.name: layer.first_unit for layer in means.bundle.layers}
        self._columns = {key: first[key.layer] + key.unit for key in units}

    def make(self, paths: Sequence[Path], search: Searcher | None, on_flaw: OnFlaw) -> Atlas:
        recordings, heard = hear(self._means, paths, on_flaw)
        chosen = heard.activations[:, [self._columns[key] for key in self._units]]
        groups, selective = group(chosen), selectivity(chosen)
        settings = self._settings(heard)
        pool_activations = None
        if any(each.optimiser == "draws" for each, _ in settings.values()):
            count = max(each.draws or 0 for each, _ in settings.values())
            pool_activations = pool(self._means, self._request.seed, count)
        kept = self._explanations(heard, settings, pool_activations, search)
        excerpts = {
            (key, sense): shown_rows(heard, self._columns[key], sense, self._request.excerpt_count)
            for key, sense in settings
        }
        shown = show(self._means, self._folder, recordings, heard, kept, excerpts)
        silent = np.zeros(self._means.bundle.unit_count, bool) if pool_activations is None else flat(pool_activations)
        scorer = Scorer(self._request.count, len(real_rows(heard, 0, "maximise")))
        reports = []
        for index, key in enumerate(self._units):
            column, duplicate = self._columns[key], int(groups.duplicate_of[index])
            sides = [
                self._side(key, sense, settings[key, sense][0], kept[key, sense], shown, heard, recordings, scorer)
                for sense in self._request.senses
            ]
            reports.append(
                UnitReport(
                    key=key,
                    place=int(groups.place[index]),
                    cluster=int(groups.cluster[index]),
                    selectivity=float(selective[index]),
                    lowest=float(chosen[:, index].min()),
                    highest=float(chosen[:, index].max()),
                    dead=bool(groups.dead[index]),
                    silent_draws=bool(silent[column]),
                    duplicate_of=None if duplicate < 0 else self._units[duplicate],
                    sides=tuple(sides),
                )
            )
        bundle = self._means.bundle
        profile = profile_from_dict(bundle.features)
        atlas = Atlas(
            model=bundle.name,
            weights_sha256=bundle.weights_sha256,
            sample_rate_hz=profile.sample_rate_hz,
            layers=tuple(layer for layer in self._model.layers if layer.name in {key.layer for key in self._units}),
            request=self._request,
            recordings=tuple(each.path.name for each in recordings),
            excerpt_seconds=bundle.spectrogram_shape[1] / profile.frames_per_second,
            excerpt_count=len(heard.activations),
            units=tuple(reports),
            sound_suffix=sound_suffix(profile.sample_rate_hz),
        )
        write_pages(atlas, self._model, self._folder)
        return atlas

    def _settings(self, heard: Heard) -> dict[Side, tuple[Settings, int]]:
        found = {}
        for key in self._units:
            for sense in self._request.senses:
                column = self._columns[key]
                real = heard.activations[real_rows(heard, column, sense), column]
                objective = Objective(key.layer, key.unit, sense)
                found[key, sense] = settings_for(self._request, self._model, objective, real)
        return found

    def _explanations(
        self,
        heard: Heard,
        settings: dict[Side, tuple[Settings, int]],
        pool_activations: FloatArray | None,
        search: Searcher | None,
    ) -> dict[Side, Found]:
        """The explanations of each unit and sense: of the candidates those nearest to the unit's real excerpts."""
        asked = {
            (key, sense): Search.of(
                self._model.name,
                Objective(key.layer, key.unit, sense),
                row_count=self._request.count * oversampling,
                seed=self._request.seed,
                settings=each,
            )
            for (key, sense), (each, oversampling) in settings.items()
            if each.optimiser != "draws"
        }
        candidates = dict(zip(asked, searched(self._means, list(asked.values()), search), strict=True))
        kept = {}
        for (key, sense), (each, oversampling) in settings.items():
            column, side = self._columns[key], (key, sense)
            if side not in candidates:
                assert pool_activations is not None  # some side draws
                values = pool_activations[: each.draws, column] * sign_of(sense)
                best = most_extreme(values, self._request.count * oversampling).tolist()
                candidates[side] = drawn(self._means, self._request.seed, best, pool_activations)
            found = candidates.pop(side)
            rows = nearest_rows(heard, real_rows(heard, column, sense), found.activations, self._request.count)
            rows = sorted(rows, key=lambda row: (-found.activations[row, column] * sign_of(sense), row))
            kept[side] = found.take(rows)
        return kept

    def _side(
        self,
        key: UnitKey,
        sense: Sense,
        settings: Settings,
        kept: Found,
        shown: Shown,
        heard: Heard,
        recordings: Sequence[Recording],
        scorer: Scorer,
    ) -> SideReport:
        column, side = self._columns[key], (key, sense)
        stand, mine = real_rows(heard, column, sense), heard.activations[:, column]
        explained = kept.activations[:, column]
        variance = float(mine.var(dtype=np.float64))
        score = None if flat(mine[:, np.newaxis])[0] else scorer.score(explained, mine[stand], sense)
        counts = np.bincount(heard.recording[stand], minlength=len(recordings))
        most = [int(at) for at in np.argsort(-counts, kind="stable")[:ORIGINS] if counts[at]]
        origins = [(recordings[at].path.name, int(counts[at])) for at in most]
        return SideReport(
            sense=sense,
            meaning=self._model.meaning(Objective(key.layer, key.unit, sense)),
            settings=settings,
            explanations=tuple(
                Sound(media, caption, float(value))
                for (media, caption), value in zip(shown.explanations[side], explained, strict=True)
            ),
            excerpts=tuple(Sound(media, caption, float(mine[row])) for media, caption, row in shown.excerpts[side]),
            score=score,
            relative=None if score is None else float(score.distance / variance),
            origins=tuple(origins),
        )
