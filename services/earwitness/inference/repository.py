"""Reads a Triton model repository folder: what is served, in which version, with which tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from earwitness.errors import EarwitnessError
from earwitness.inference.backend import FloatArray, InferenceFailed
from earwitness.inference.metadata import BUNDLE_PARAMETER

ONNX_BACKEND = "onnxruntime"
ONNX_FILE = "model.onnx"


class RepositoryError(EarwitnessError):
    """A model repository folder cannot be served; says which file, what is wrong with it and the way out."""

    reason = "MODEL_REPOSITORY_INVALID"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name and its shape without the batch, -1 where any size is taken."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ServedModel:
    """One folder of the repository, in the newest version that holds a model."""

    name: str
    version: int
    model_file: Path
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    instance_count: int

    def check(self, inputs: Mapping[str, FloatArray], outputs: list[str]) -> dict[str, FloatArray]:
        """`inputs` as contiguous float32 in the model's order, refused as Triton would refuse them.

        Raises: InferenceFailed naming the tensor, what was got and what the model takes.
        """
        names = [spec.name for spec in self.inputs]
        if set(inputs) != set(names):
            raise InferenceFailed(f"{self.name}: got inputs {sorted(inputs)}, the model takes {sorted(names)}")
        known = [spec.name for spec in self.outputs]
        if not outputs or not set(outputs) <= set(known):
            raise InferenceFailed(f"{self.name}: outputs {outputs} were asked for, the model has {known}")
        checked = {name: np.asarray(inputs[name], dtype=np.float32, order="C") for name in names}
        rows = {name: array.shape[0] if array.ndim else 0 for name, array in checked.items()}
        for spec in self.inputs:
            shape = checked[spec.name].shape
            fits = len(shape) == len(spec.shape) + 1 and all(
                want in (-1, got) for want, got in zip(spec.shape, shape[1:], strict=True)
            )
            if not fits or not 1 <= rows[spec.name] <= self.max_batch_size:
                raise InferenceFailed(
                    f"{self.name}: input {spec.name!r} has shape {list(shape)}, the model takes "
                    f"{['batch', *spec.shape]} with a batch of 1 to {self.max_batch_size}"
                )
        if len(set(rows.values())) != 1:
            raise InferenceFailed(f"{self.name}: the inputs' batches differ: {rows}")
        return checked


@dataclass(frozen=True)
class Contents:
    """What a repository folder holds: its ONNX models by served name, and by its path why each other folder is none.

    Hidden folders are nobody's models and not told of, nor are models of other backends, but for those of bundles:
    `foreign` are the models that Triton itself runs for a registered bundle, by name with their backend.
    """

    models: Mapping[str, ServedModel]
    left_out: Mapping[str, str]
    foreign: Mapping[str, str]


def read_contents(repository: Path) -> Contents:
    """Look into every folder of the repository; one that cannot be served says so and keeps no other from it.

    Raises: RepositoryError when `repository` cannot be read, or holds no ONNX model.
    """
    if not repository.is_dir():
        raise RepositoryError(f"model repository {repository} is not a folder; give the one that holds the models")
    try:
        folders = sorted(each for each in repository.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as err:
        raise RepositoryError(f"model repository {repository} cannot be read: {err.strerror}") from err
    models: dict[str, ServedModel] = {}
    left_out: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for folder in folders:
        try:
            config = read_config(folder)
            if config.backend == ONNX_BACKEND or config.platform == f"{ONNX_BACKEND}_onnx":
                models[folder.name] = _served_model(folder, config)
                left_out |= _empty_versions(folder, models[folder.name].version)
            elif BUNDLE_PARAMETER in config.parameters:
                foreign[folder.name] = config.platform or config.backend
        except RepositoryError as err:
            left_out[folder.name] = err.message
        except OSError as err:
            left_out[folder.name] = f"{err.filename or folder} cannot be read: {err.strerror}"
    if not models:
        reasons = "".join(f"\n{reason}" for reason in left_out.values())
        raise RepositoryError(
            f"model repository {repository} holds no model for backend {ONNX_BACKEND!r} that can be served; "
            f"export one with `earwitness export`{reasons}"
        )
    return Contents(models, left_out, foreign)


def read_repository(repository: Path) -> Mapping[str, ServedModel]:
    """Every ONNX model of the repository by its served name; what else is in there is passed over.

    Raises: RepositoryError.
    """
    return read_contents(repository).models


def parameter_texts(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    """The `parameters` of a model configuration as plain strings."""
    return {key: value.string_value for key, value in config.parameters.items()}


def parameters_of(models: Mapping[str, ServedModel]) -> dict[str, Mapping[str, str]]:
    """The config.pbtxt parameters of each model, by its name."""
    return {name: model.parameters for name, model in models.items()}


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """The config.pbtxt of a model's folder. Raises: RepositoryError."""
    path = folder / "config.pbtxt"
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except OSError as err:
        raise RepositoryError(f"{path} cannot be read: {err.strerror}; every model folder needs one") from err
    except (text_format.ParseError, UnicodeDecodeError) as err:
        raise RepositoryError(f"{path} is not a Triton model configuration: {err}") from err
    if config.name and config.name != folder.name:
        raise RepositoryError(f"{path} names the model {config.name!r}; Triton wants the folder's name {folder.name!r}")
    return config


def _served_model(folder: Path, config: model_config_pb2.ModelConfig) -> ServedModel:
    versions = _versions(folder)
    if not versions:
        raise RepositoryError(f"{folder} has no version folder; put the model in {folder / '1' / ONNX_FILE}")
    filled = [version for version in versions if (folder / str(version) / ONNX_FILE).is_file()]
    if not filled:
        raise RepositoryError(f"{folder / str(max(versions)) / ONNX_FILE} does not exist; export the model again")
    version = max(filled)
    if config.max_batch_size < 1:
        raise RepositoryError(f"{folder / 'config.pbtxt'}: max_batch_size is {config.max_batch_size}; give at least 1")
    return ServedModel(
        name=folder.name,
        version=version,
        model_file=folder / str(version) / ONNX_FILE,
        max_batch_size=config.max_batch_size,
        inputs=tuple(_tensor_spec(folder, tensor) for tensor in config.input),
        outputs=tuple(_tensor_spec(folder, tensor) for tensor in config.output),
        parameters=parameter_texts(config),
        instance_count=max(1, sum(max(1, group.count) for group in config.instance_group)),
    )


def _versions(folder: Path) -> list[int]:
    return [int(each.name) for each in folder.iterdir() if each.is_dir() and re.fullmatch(r"[1-9]\d*", each.name)]


def _empty_versions(folder: Path, served: int) -> dict[str, str]:
    """Folders of versions newer than the one that is served, in which there is no model."""
    newer = [version for version in _versions(folder) if version > served]
    return {
        f"{folder.name}/{version}": f"{folder / str(version)} holds no {ONNX_FILE}; version {served} is served"
        for version in newer
    }


def _tensor_spec(folder: Path, tensor: model_config_pb2.ModelInput | model_config_pb2.ModelOutput) -> TensorSpec:
    if tensor.data_type != model_config_pb2.TYPE_FP32 or tensor.HasField("reshape"):
        kind = model_config_pb2.DataType.Name(tensor.data_type)
        raise RepositoryError(
            f"{folder / 'config.pbtxt'}: tensor {tensor.name!r} has data_type {kind}"
            f"{' and a reshape' if tensor.HasField('reshape') else ''}; earwitness serves TYPE_FP32 without reshape"
        )
    return TensorSpec(tensor.name, tuple(tensor.dims))
