"""Files of networks: which kind they are, and each as one ONNX graph with one input."""

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from earwitness.registration.axes import Port
from earwitness.training.export.errors import ShapeError, SourceError
from earwitness.training.export.exporter import quiet

Kind = Literal["onnx", "torchscript", "exported"]
LEAST_OPSET = 7
"""scikit-learn's converter writes the oldest that will do, 9 as a rule; before 7, arithmetic was another."""
SCRIPT_OPSET = 17
"""The newest that torch's exporter of TorchScript has rules of its own for."""
TYPES: Mapping[int, str] = {
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.STRING: "BYTES",
}
WIDTHS = {"FP32": np.float32, "FP16": np.float16, "FP64": np.float64}


@dataclass(frozen=True)
class OnnxFile:
    """A graph, its input and its outputs without the batch; `batch` is the number of rows it takes, None for any."""

    source: str
    model: onnx.ModelProto
    given: Port
    outputs: tuple[Port, ...]
    batch: int | None

    def run(self, inputs: NDArray[Any], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What ONNX Runtime makes of `[B, ...]` rows, as the graph takes them. Raises: SourceError."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        x = np.ascontiguousarray(inputs, WIDTHS[self.given.datatype])
        step = self.batch or len(x)
        try:
            session = onnxruntime.InferenceSession(
                self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            parts = [
                session.run(list(outputs), {self.given.name: x[first : first + step]})
                for first in range(0, len(x), step)
            ]
        except Exception as err:  # onnxruntime's own errors share no base class
            raise SourceError(
                f"{self.source}: ONNX Runtime {onnxruntime.__version__} does not run it over {list(x.shape)}: "
                f"{_line(err)}"
            ) from err
        return {name: np.concatenate([part[index] for part in parts]) for index, name in enumerate(outputs)}


def kind_of(path: Path) -> Kind | None:
    """What a file holds by what it begins with or contains; None for anything else, such as weights alone."""
    if not path.is_file():
        return None
    if not zipfile.is_zipfile(path):
        return "onnx" if path.suffix.lower() == ".onnx" else None
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] or name for name in archive.namelist()]
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    exported = ("models/", "serialized_exported_program.json", "archive_format")
    return "exported" if any(name.startswith(exported) for name in names) else None


def read_file(path: Path, rows: Sequence[tuple[int, ...]]) -> OnnxFile:
    """A network's file as ONNX; `rows` are the shapes of a row that TorchScript, which does not say, is tried with.

    Raises: SourceError; ShapeError when it takes none of the rows.
    """
    kind = kind_of(path)
    if kind == "onnx":
        try:
            return read_model(str(path), onnx.load(path))
        except SourceError:
            raise
        except Exception as err:  # protobuf's and onnx's errors share no base
            raise SourceError(f"{path}: is no ONNX file that can be read: {_line(err)}") from err
    if kind == "torchscript":
        try:
            with quiet():
                module: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except Exception as err:
            raise SourceError(f"{path}: is no TorchScript that this torch reads: {_line(err)}") from err
        return script_as_onnx(str(path), module.eval(), rows)
    if kind == "exported":
        try:
            program = torch.export.load(path)
        except Exception as err:
            raise SourceError(f"{path}: is no program of torch.export that this torch reads: {_line(err)}") from err
        return program_as_onnx(str(path), program)
    raise SourceError(
        f"{path}: is neither ONNX nor TorchScript (torch.jit.save) nor a program of torch.export; weights alone "
        "(torch.save) need the network they belong to: package.module:attribute and --classifier-weights"
    )


def script_as_onnx(source: str, module: Any, rows: Sequence[tuple[int, ...]]) -> OnnxFile:
    """TorchScript, or a module with some inside, as ONNX, by torch's own exporter of it.

    Raises: SourceError when that cannot; ShapeError when it takes none of the rows.
    """
    failures = []
    for row in rows:
        example = torch.randn(3, *row, generator=torch.Generator().manual_seed(0))
        try:
            with torch.no_grad():
                expected = module(example)
        except Exception as err:  # TorchScript raises what its operators do
            failures.append(f"[B, {', '.join(map(str, row))}]: {_line(err)}")
            continue
        if not isinstance(expected, torch.Tensor):
            raise SourceError(
                f"{source}: returns {type(expected).__name__}, expected one tensor; script a module that picks the one"
            )
        buffer = io.BytesIO()
        try:
            with quiet(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module, (example,), cast(Any, buffer), dynamo=False, opset_version=SCRIPT_OPSET, input_names=["x"],
                    output_names=["y"], dynamic_axes={"x": {0: "B"}, "y": {0: "B"}},
                )  # fmt: skip
        except Exception as err:
            raise SourceError(f"{source}: torch cannot write this TorchScript as ONNX: {_line(err)}") from err
        file = read_model(source, onnx.load_model_from_string(buffer.getvalue()))
        _require_alike(file, example.numpy(), expected.numpy())
        return file
    raise ShapeError(f"{source}: takes no batch of these: {'; '.join(failures)}")


def program_as_onnx(source: str, program: torch.export.ExportedProgram) -> OnnxFile:
    """A program of torch.export as ONNX. Raises: SourceError."""
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = torch.onnx.export(program, dynamo=True, verbose=False)
        if written is None:
            raise ValueError("it gave nothing")
        return read_model(source, written.model_proto)
    except SourceError:
        raise
    except Exception as err:
        raise SourceError(f"{source}: torch cannot write this program as ONNX: {_line(err)}") from err


def read_model(source: str, model: onnx.ModelProto) -> OnnxFile:
    """A graph that was read. Raises: SourceError for one that cannot be served whatever is done with it."""
    opset = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), LEAST_OPSET)
    if opset < LEAST_OPSET:
        raise SourceError(
            f"{source}: is of opset {opset}; opsets {LEAST_OPSET} and newer are read: export it anew, or convert it "
            f"(onnx.version_converter.convert_version(model, 13))"
        )
    _without_zip_maps(model)
    filled = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in filled]
    if len(inputs) != 1:
        said = "; ".join(_described(each) for each in inputs) or "none"
        raise SourceError(
            f"{source}: takes {len(inputs)} inputs ({said}), a search gives it one. Where the others are settings or a "
            "state to begin with, write them into the file as initialisers (onnx.helper, or when exporting it)"
        )
    (given,) = inputs
    port = _port(given)
    first = given.type.tensor_type.shape.dim[0].dim_value if given.type.tensor_type.shape.dim else 0
    if not given.type.tensor_type.shape.dim:
        raise SourceError(f"{source}: does not say the shape of its input {given.name!r}; export it with one")
    outputs = tuple(_port(each) for each in model.graph.output if each.type.HasField("tensor_type"))
    return OnnxFile(source, model, port, outputs, first or None)


def _described(value: onnx.ValueInfoProto) -> str:
    """An input with its first axis, which need not be the batch."""
    first = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim[:1]]
    port = _port(value)
    return str(Port(port.name, port.datatype, (*first, *port.shape)))


def _port(value: onnx.ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in kind.shape.dim[1:])
    return Port(value.name, TYPES.get(int(kind.elem_type), onnx.TensorProto.DataType.Name(kind.elem_type)), shape)


def _without_zip_maps(model: onnx.ModelProto) -> None:
    """scikit-learn's probabilities as numbers `[B, classes]`, where they are maps of one number for each class."""
    graph = model.graph
    for node in [each for each in graph.node if each.op_type == "ZipMap"]:
        for output in graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, [None, None]))
        graph.node.remove(node)


def _require_alike(file: OnnxFile, x: NDArray[Any], expected: NDArray[Any]) -> None:
    found = file.run(x, [file.outputs[0].name])[file.outputs[0].name]
    off = np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30)
    if not off <= 1e-4:
        raise SourceError(
            f"{file.source}: as ONNX it computes something else ({off:.0e} off); it may choose between ways by values, "
            "which ONNX takes over from an example only"
        )


def _line(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[-1] if "Traceback" in str(err) and lines else next(iter(lines), type(err).__name__)
