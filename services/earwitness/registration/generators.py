"""Where the generator of a registered bundle comes from: another bundle, or a model that a Triton serves."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient.grpc import model_config_pb2

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import FloatArray
from earwitness.inference.integrity import file_sha256, mismatch
from earwitness.inference.metadata import BUNDLE_PARAMETER, BundleMetadata, MetadataError
from earwitness.inference.repository import RepositoryError, ServedModel, read_config, read_repository
from earwitness.inference.session import OnnxSession, SessionSettings
from earwitness.registration.configuration import SPECTROGRAM, Written, Z, ensemble_of_one
from earwitness.registration.served import Served, Triton, only_input

SEED = 11


@dataclass(frozen=True)
class Generator:
    """A generator of spectrograms: z `[B, latent_size]` → `[B, bands, frames]`.

    `features` are those of its bundle, None where it is of none. `identity` tells it from any other. `written` makes
    what is to be served under another name.
    """

    named: str
    latent_size: int
    spectrogram_shape: tuple[int, int]
    features: Mapping[str, Any] | None
    identity: str
    generate: Callable[[FloatArray], Awaitable[FloatArray]]
    written: Callable[[str], Written]


async def find_generator(name: str, repository: Path, triton: Triton) -> Generator:
    """The generator of the bundle `name` in `repository`; else of that bundle in the Triton; else its model `name`.

    Raises: InvalidArgument; RepositoryError for a file that is damaged; InferenceUnavailable.
    """
    served_name = f"{name.replace('-', '_')}_generator"
    try:
        models = read_repository(repository)
    except RepositoryError:  # an empty one, that this bundle will be the first in
        models = {}
    if served_name in models:
        return _of_repository(name, models[served_name])
    try:
        return await _of_triton(await triton.find(served_name, "generator"), triton)
    except InvalidArgument:
        try:
            return await _of_triton(await triton.find(name, "generator"), triton)
        except InvalidArgument as err:
            raise InvalidArgument(
                "generator", f"{repository} has no model {name!r} whose generator could be used, and {err.description}"
            ) from err


def _of_repository(name: str, model: ServedModel) -> Generator:
    bundle = _bundle(model.parameters)
    if bundle is None:
        raise InvalidArgument("generator", f"{model.model_file.parents[1]} does not say what it is; export it again")
    digest = file_sha256(model.model_file)
    if bundle.model_sha256 is not None and bundle.model_sha256["generator"] != digest:
        raise RepositoryError(mismatch(model.model_file, bundle.model_sha256["generator"], digest))
    session: list[OnnxSession] = []

    def run(z: FloatArray) -> FloatArray:
        if not session:
            session.append(OnnxSession(model.model_file, SessionSettings.from_parameters(model.parameters)))
        return session[0].run({Z: z}, [SPECTROGRAM])[SPECTROGRAM]

    def written(served_name: str) -> Written:
        config = model_config_pb2.ModelConfig()
        config.CopyFrom(read_config(model.model_file.parents[1]))
        config.name = served_name
        return Written(config, model.model_file.read_bytes())

    async def generate(z: FloatArray) -> FloatArray:
        return await asyncio.to_thread(run, z)

    return Generator(
        named=f"that of {name}",
        latent_size=bundle.latent_size,
        spectrogram_shape=bundle.spectrogram_shape,
        features=bundle.features,
        identity=digest,
        generate=generate,
        written=written,
    )


async def _of_triton(model: Served, triton: Triton) -> Generator:
    taken = only_input(model, "generator")
    made = [port for port in model.outputs if port.datatype == "FP32" and len(port.shape) == 2 and min(port.shape) > 0]
    if taken.datatype != "FP32" or len(taken.shape) != 1 or taken.shape[0] < 1 or len(made) != 1 or not model.batches:
        raise InvalidArgument(
            "generator",
            f"{model.name!r} takes {taken} and gives {'; '.join(map(str, model.outputs))}"
            f"{'' if model.batches else ', without batches'}; one that can be used takes latents FP32 [Z] and gives "
            "one spectrogram FP32 [bands, frames], in batches (max_batch_size)",
        )
    (output,) = made
    bundle = _bundle(await triton.parameters(model))

    async def generate(z: FloatArray) -> FloatArray:
        found = await triton.infer(model, {taken.name: z}, [output.name])
        return found[output.name].astype(np.float32)

    latents = np.random.default_rng(SEED).standard_normal((2, taken.shape[0])).astype(np.float32)
    shown = await generate(latents)
    behaviour = hashlib.sha256(f"{model}{np.round(shown.astype(np.float64), 3).tolist()}".encode()).hexdigest()
    return Generator(
        named=f"the Triton's model {model.name}",
        latent_size=taken.shape[0],
        spectrogram_shape=(output.shape[0], output.shape[1]),
        features=bundle.features if bundle else None,
        identity=bundle.weights_sha256 if bundle else behaviour,
        generate=generate,
        written=lambda served_name: ensemble_of_one(served_name, model, {Z: taken}, {SPECTROGRAM: output}),
    )


def _bundle(parameters: Mapping[str, str]) -> BundleMetadata | None:
    if BUNDLE_PARAMETER not in parameters:
        return None
    try:
        return BundleMetadata.from_parameters(parameters)
    except MetadataError as err:
        raise InvalidArgument("generator", str(err)) from err
