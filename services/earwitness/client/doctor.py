"""Is a deployment in order? Every part asked as a caller would ask it, every finding with what to do about it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc

from earwitness.client.errors import RpcFailure
from earwitness.client.explainer import ExplainerClient
from earwitness.client.scorer import ScorerClient
from earwitness.client.service import ServiceClient
from earwitness.client.values import Model, Objective, Optimiser, Reference, Row, Search, Settings
from earwitness.errors import EarwitnessError
from earwitness.inference.backend import InferenceBackend
from earwitness.inference.integrity import take_inventory
from earwitness.inference.repository import RepositoryError

Level = Literal["ok", "warning", "failure"]
MAX_CLOCK_S = 5.0
"""A server's clock further off than this, beyond what the way there explains, makes log lines and tokens disagree."""
HEALTH_ATTEMPTS = 3
"""A server asks itself every second; one second in which a busy machine left it no time is no finding."""
HEALTH_INTERVAL_S = 1.0
SEARCH_STEPS = 3
DRAWS = 16
SEARCH_TIMEOUT_S = 60.0
"""What one such short search may take."""
MEND = "put the right files there, or export the model again, and start what serves it"
LIMIT_TIMEOUT_S = 5.0
"""After which what should have been refused was begun."""
TOO_MANY_ROWS = 100_000
TOO_MANY_STEPS = 2**31 - 1
_REMEDIES = {
    grpc.StatusCode.UNAUTHENTICATED: "give the token of this deployment (--token-file)",
    grpc.StatusCode.PERMISSION_DENIED: "ask for a token of the role explain, which all of this needs",
    grpc.StatusCode.UNAVAILABLE: "look whether it runs, and whether only one side uses TLS (--tls-ca)",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "try again when fewer call it, or raise the limit that it names",
}


@dataclass(frozen=True)
class Finding:
    """What a check of one `part` found; `remedy` says what to do and is empty where nothing is."""

    part: str
    level: Level
    words: str
    remedy: str = ""


async def diagnose(
    explainer: ExplainerClient,
    scorer: ScorerClient,
    backend: InferenceBackend | None,
    *,
    version: str,
    repository: Path | None = None,
    quick: bool = False,
) -> AsyncIterator[Finding]:
    """Findings as they are made; `backend` is where the models run, None where only the explainer reaches it.

    `repository` is the folder that they are served from, where it can be read here: its files are checked. `version` is
    what the services should be. Searches a few steps with every layer of every model, unless it is to be `quick`;
    writes nothing.
    """
    answers: dict[str, bool] = {}
    for part, client in (("explainer", explainer), ("scorer", scorer)):
        found = await _service(part, client, version)
        answers[part] = all(finding.level != "failure" for finding in found)
        for finding in found:
            yield finding
    models: list[Model] = []
    if answers["explainer"]:
        models = await explainer.list_models()
        if not models:
            yield Finding("models", "failure", "none is served", "export one into the model repository, or mount it")
        for model in models:
            yield _listed(model) if quick else await _model(explainer, model)
        for name, cause in (await explainer.unusable_models()).items():
            yield Finding(f"models/{name}", "failure", f"is there and cannot be explained: {cause}", MEND)
    if repository is not None:
        for finding in await asyncio.to_thread(_repository, repository, models):
            yield finding
    if backend is not None:
        yield await _inference(backend, models)
    if models:
        yield await _limits(explainer, models[0])
    if answers["explainer"] and answers["scorer"]:
        for finding in _references(await scorer.list_references(), models):
            yield finding


async def _service(part: str, client: ServiceClient, version: str) -> list[Finding]:
    """Whether it can be used, by a call with our credentials and by its health; which version; whose clock."""
    try:
        seen = await client.server()
    except RpcFailure as failure:
        return [Finding(part, "failure", failure.message, _remedy(failure))]
    found = []
    if seen.version != version:
        words = f"runs version {seen.version or 'unknown'}, this is {version}"
        found.append(Finding(part, "warning", words, "upgrade the older of the two"))
    if abs(seen.clock_ahead_s) > MAX_CLOCK_S + seen.round_trip_s:
        way = "ahead of" if seen.clock_ahead_s > 0 else "behind"
        words = f"its clock is {abs(seen.clock_ahead_s):.1f} s {way} the one here"
        found.append(Finding(part, "warning", words, "synchronise both machines' clocks (NTP)"))
    if await _serves(client):
        words = f"{client.target} serves, version {seen.version}, {seen.round_trip_s * 1e3:.1f} ms away"
        found.append(Finding(part, "ok", words))
    else:
        words = f"{client.target} answers, but its health is not SERVING"
        remedy = "look into its log: it says what it cannot reach (models, database)"
        found.append(Finding(part, "failure", words, remedy))
    return found


async def _serves(client: ServiceClient) -> bool:
    """Whether its health is SERVING, now or within some seconds."""
    for attempt in range(HEALTH_ATTEMPTS):
        if attempt:
            await asyncio.sleep(HEALTH_INTERVAL_S)
        if await client.serving():
            return True
    return False


def _listed(model: Model) -> Finding:
    words = f"is served with {len(model.layers)} layers; their gradients were not asked for"
    return Finding(f"models/{model.name}", "ok", f"{words}; weights {model.weights_sha256[:12]}")


async def _model(explainer: ExplainerClient, model: Model) -> Finding:
    """A short search with every layer, which makes the explainer check the layer's gradient first; of a model without
    gradients, draws."""
    part = f"models/{model.name}"
    settings = Settings(steps=SEARCH_STEPS) if model.has_gradient else Settings("draws", draws=DRAWS)
    begun = time.perf_counter()
    for layer in model.layers:
        senses = [Row(0, Objective(layer.name, 0, "maximise")), Row(0, Objective(layer.name, 0, "minimise"))]
        search = Search(model.name, tuple(senses), settings=settings)
        try:
            result = await explainer.explain(search, timeout_s=SEARCH_TIMEOUT_S)
        except RpcFailure as failure:
            broken = failure.code is grpc.StatusCode.FAILED_PRECONDITION
            remedy = "export the model again" if broken else _remedy(failure)
            return Finding(part, "failure", f"layer {layer.name}: {failure.message}", remedy)
        if result.summary.weights_sha256 != model.weights_sha256:
            was, now = model.weights_sha256[:12], result.summary.weights_sha256[:12]
            remedy = "it changed just now, or replicas serve different models: try again, then compare them"
            return Finding(part, "failure", f"was listed with weights {was} and searched with {now}", remedy)
    seconds = time.perf_counter() - begun
    right = "gradients of {} layers are right" if model.has_gradient else "{} layers answer; it has no gradients"
    words = f"{right.format(len(model.layers))} ({seconds:.1f} s); weights {model.weights_sha256[:12]}"
    return Finding(part, "ok", words)


def _repository(folder: Path, models: list[Model]) -> list[Finding]:
    """Whether the files in the repository are those that were exported, and of the weights that are explained."""
    part = "repository"
    try:
        inventory = take_inventory(folder)
    except RepositoryError as err:
        return [Finding(part, "failure", err.message, "give its path (--model-repository)")]
    found = [Finding(part, "failure", f"models/{name}: {why}", MEND) for name, why in inventory.left_out.items()]
    for name in inventory.undigested:
        words = f"models/{name} carries no digests of its files, so they cannot be checked"
        found.append(Finding(part, "warning", words, f"earwitness stamp --model-repository {folder}"))
    found += [Finding(part, "warning", why, "take it out of the repository") for why in inventory.odd.values()]
    served = {model.name: model.weights_sha256 for model in models}
    for bundle in inventory.bundles:
        if served.get(bundle.name, bundle.weights_sha256) != bundle.weights_sha256:
            words = f"models/{bundle.name} has weights {bundle.weights_sha256[:12]} in {folder}"
            words += f", served are {served[bundle.name][:12]}"
            found.append(Finding(part, "warning", words, "start what serves it again"))
    files = sum(len(bundle.roles) for bundle in inventory.bundles if bundle.name not in inventory.undigested)
    return [*found, Finding(part, "ok", f"{files} files of models in {folder} are those that were exported")]


async def _inference(backend: InferenceBackend, models: list[Model]) -> Finding:
    """Whether what the inference server has is what the explainer explains."""
    try:
        there = {bundle.name: bundle.weights_sha256 for bundle in await backend.bundles()}
    except EarwitnessError as err:
        return Finding("inference", "failure", str(err), "look whether it runs and has read the model repository")
    explained = {model.name: model.weights_sha256 for model in models}
    for name in sorted(there.keys() | explained.keys()):
        if there.get(name) != explained.get(name):
            served, known = (sums.get(name, "missing")[:12] for sums in (there, explained))
            words = f"models/{name} is {served} at {backend.description} and {known} at the explainer"
            return Finding("inference", "failure", words, "let the explainer use this server, or load the model again")
    return Finding("inference", "ok", f"{backend.description} serves {len(there)} models, the explainer the same")


async def _limits(explainer: ExplainerClient, model: Model) -> Finding:
    """Whether what is far too much is refused before work begins."""
    objective = Objective(model.output_layer.name, 0)
    way: Optimiser | None = None if model.has_gradient else "walk"
    asked = {
        "rows": Search.of(model.name, objective, row_count=TOO_MANY_ROWS, settings=Settings(way, steps=1)),
        "steps": Search.of(model.name, objective, row_count=1, settings=Settings(way, steps=TOO_MANY_STEPS)),
    }
    refusals = []
    for what, search in asked.items():
        try:
            await explainer.explain(search, timeout_s=LIMIT_TIMEOUT_S)
        except RpcFailure as failure:
            said = next((each.description for each in failure.violations if each.field.endswith(what)), None)
            if said is not None:
                refusals.append(f"{what} ({said.rpartition('; ')[2]})")  # what is allowed, after what was got
                continue
            if failure.code is not grpc.StatusCode.DEADLINE_EXCEEDED:  # of limits it says nothing
                return Finding("limits", "failure", failure.message, _remedy(failure))
        return Finding(
            "limits", "failure", f"a search of far too many {what} was begun", f"limit the {what} of a search"
        )
    return Finding("limits", "ok", f"hold for {' and '.join(refusals)}")


def _remedy(failure: RpcFailure) -> str:
    """What to do about a call that failed."""
    if failure.code is grpc.StatusCode.UNAVAILABLE and failure.reason:
        return "start what it names, or try again"  # it runs, and says so
    return _REMEDIES.get(failure.code, "look into its log")


def _references(references: list[Reference], models: list[Model]) -> list[Finding]:
    """Whether every reference can be scored against, by the models that are served now."""
    by_name = {model.name: model for model in models}
    if not references:
        words = "there are none, so nothing can be scored"
        return [Finding("references", "warning", words, "earwitness reference build")]
    problems = {each.name: _problem(each, by_name.get(each.identity.model)) for each in references}
    found = [Finding(f"references/{name}", "warning", *problem) for name, problem in problems.items() if problem]
    usable = len(references) - len(found)
    if usable:
        found.append(Finding("references", "ok", f"{usable} of {len(references)} fit the models served"))
    return found


def _problem(reference: Reference, model: Model | None) -> tuple[str, str] | None:
    """What keeps a reference from being scored against, and what to do."""
    identity = reference.identity
    build = "build it again, under another name, from the same audio"
    if model is None:
        return f"is of models/{identity.model}, which is not served", "serve that model, or delete the reference"
    if identity.weights_sha256 != model.weights_sha256:
        was, now = identity.weights_sha256[:12], model.weights_sha256[:12]
        return f"is of other weights of models/{model.name} ({was}, served are {now})", build
    units = next((layer.unit_count for layer in model.layers if layer.name == identity.layer), None)
    if (units, model.feature_profile) != (identity.unit_count, identity.feature_profile):
        return f"does not fit layer {identity.layer} and the features of models/{model.name}", build
    if not reference.versions:
        return "has no version yet", "freeze it: earwitness reference build does at its end"
    return None
