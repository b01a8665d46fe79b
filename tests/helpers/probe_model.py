"""A served model whose running time, and whether it fails, is chosen by its input.

    y = x + table[index], after max(iterations) small matrix products; table holds 0 … TABLE_SIZE − 1

An index outside the table makes ONNX Runtime fail the whole batch.
"""

from pathlib import Path

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2 as mc

from earwitness.inference.stamping import MAX_QUEUE_SIZE

TABLE_SIZE = 4
INPUTS = ("x", "iterations", "index")
QUEUE = mc.ModelQueuePolicy(max_queue_size=MAX_QUEUE_SIZE)
"""That of an exported model."""


def write_probe_model(
    repository: Path,
    name: str = "probe",
    max_batch_size: int = 16,
    queue: mc.ModelQueuePolicy = QUEUE,
    **parameters: str,
) -> Path:
    """Write the model into `repository`; the folder it went to. Each input and the output `y` are FP32 `[B, 1]`."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    onnx.save(_model(), folder / "1" / "model.onnx")
    config = mc.ModelConfig(
        name=name,
        backend="onnxruntime",
        max_batch_size=max_batch_size,
        input=[mc.ModelInput(name=each, data_type=mc.TYPE_FP32, dims=[1]) for each in INPUTS],
        output=[mc.ModelOutput(name="y", data_type=mc.TYPE_FP32, dims=[1])],
        instance_group=[mc.ModelInstanceGroup(count=1)],
        dynamic_batching=mc.ModelDynamicBatching(default_queue_policy=queue),
    )
    for key, text in {"intra_op_thread_count": "1", **parameters}.items():
        config.parameters[key].string_value = text
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    return folder


def probe_inputs(x: float, iterations: int = 0, index: int = 0, rows: int = 1) -> dict[str, np.ndarray]:
    """`rows` equal rows of inputs."""
    return {
        name: np.full((rows, 1), value, np.float32)
        for name, value in {"x": x, "iterations": iterations, "index": index}.items()
    }


def _model() -> onnx.ModelProto:
    node = helper.make_node
    size = 64
    body = helper.make_graph(
        [
            node("MatMul", ["state", "rotation"], ["next_state"]),
            node("Identity", ["go_on"], ["still_going"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, [size, size]),
        ],
    )
    graph = helper.make_graph(
        [
            node("ReduceMax", ["iterations"], ["longest"], keepdims=0),
            node("Cast", ["longest"], ["trips"], to=TensorProto.INT64),
            node("Loop", ["trips", "true", "rotation"], ["state"], body=body),
            node("ReduceSum", ["state"], ["total"], keepdims=0),
            node("Mul", ["total", "zero"], ["nothing"]),
            node("Cast", ["index"], ["whole_index"], to=TensorProto.INT64),
            node("Gather", ["table", "whole_index"], ["looked_up"]),
            node("Sum", ["x", "looked_up", "nothing"], ["y"]),
        ],
        "probe",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in INPUTS],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [
            numpy_helper.from_array(np.roll(np.eye(size, dtype=np.float32), 1, axis=0), "rotation"),
            numpy_helper.from_array(np.arange(TABLE_SIZE, dtype=np.float32), "table"),
            numpy_helper.from_array(np.float32(0), "zero"),
            numpy_helper.from_array(np.array(True), "true"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
