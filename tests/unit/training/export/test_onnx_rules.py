"""Every rule of an ONNX operation against ONNX Runtime: the same numbers, in opsets that spell it differently."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper

from earwitness.training.export.files.network import NoGradient, OnnxNetwork
from tests.unit.training.export.onnx_files import model

SHAPE = (3, 4, 6, 8)
RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def node(operator: str, *more: str, **attributes: Any) -> Any:
    return helper.make_node(operator, ["x", *more], ["y"], **attributes)


def branch(operator: str) -> Any:
    made = helper.make_node(operator, ["x"], [operator])
    return helper.make_graph([made], operator, [], [helper.make_tensor_value_info(operator, 1, None)])


POINTWISE = [
    "Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Tan", "Tanh", "Mish",
    "Gelu", "GlobalAveragePool", "GlobalMaxPool", "Softmax", "LogSoftmax", "Identity", "Flatten",
]  # fmt: skip
CASES: dict[str, tuple[list[Any], dict[str, Any], int]] = {
    **{name: ([node(name)], {}, 20) for name in POINTWISE},
    "Softmax of opset 11": ([node("Softmax")], {}, 11),
    "Clip": ([node("Clip", "low", "high")], {"low": np.float32(-0.5), "high": np.float32(0.7)}, 13),
    "Clip without a floor": ([node("Clip", "", "high")], {"high": np.float32(0.2)}, 13),
    "PRelu": ([node("PRelu", "slope")], {"slope": normal(4, 1, 1)}, 16),
    "Pow": ([node("Pow", "two")], {"two": np.float32(2)}, 15),
    "Where": (
        [helper.make_node("Greater", ["x", "zero"], ["is"]), helper.make_node("Where", ["is", "x", "zero"], ["y"])],
        {"zero": np.float32(0)}, 16,
    ),
    "MatMul": ([node("MatMul", "w")], {"w": normal(8, 5)}, 13),
    "Conv with groups": (
        [node("Conv", "w", "b", group=2, dilations=[1, 2], pads=[1, 2, 1, 2])],
        {"w": normal(6, 2, 3, 3), "b": normal(6)}, 11,
    ),
    "Conv with uneven pads": ([node("Conv", "w", pads=[0, 1, 2, 0], strides=[2, 1])], {"w": normal(2, 4, 3, 3)}, 11),
    "Conv SAME_UPPER": ([node("Conv", "w", auto_pad="SAME_UPPER", strides=[2, 3])], {"w": normal(2, 4, 3, 4)}, 11),
    "Conv SAME_LOWER": ([node("Conv", "w", auto_pad="SAME_LOWER", strides=[2, 3])], {"w": normal(2, 4, 3, 4)}, 11),
    "ConvTranspose": (
        [node("ConvTranspose", "w", "b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])],
        {"w": normal(4, 3, 3, 3), "b": normal(3)}, 11,
    ),
    "BatchNormalization": (
        [node("BatchNormalization", "g", "b", "m", "v")],
        {"g": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4))}, 15,
    ),
    "InstanceNormalization": ([node("InstanceNormalization", "g", "b")], {"g": normal(4), "b": normal(4)}, 6),
    "LayerNormalization": ([node("LayerNormalization", "g", "b", axis=-2)], {"g": normal(6, 8), "b": normal(6, 8)}, 17),
    "LpNormalization": ([node("LpNormalization", axis=2)], {}, 1),
    "MaxPool": ([node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=0)], {}, 12),
    "MaxPool with ceil": ([node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)], {}, 12),
    "AveragePool": ([node("AveragePool", kernel_shape=[2, 3], pads=[1, 1, 1, 1])], {}, 11),
    "AveragePool SAME": ([node("AveragePool", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER")], {}, 11),
    "AveragePool that counts pads": (
        [node("AveragePool", kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=1)], {}, 11,
    ),
    **{
        f"{name} of opset {opset}": (
            [node(name, axes=[2, 3], keepdims=0) if opset == 11 else node(name, "axes", keepdims=0)],
            {} if opset == 11 else {"axes": [2, 3]}, opset,
        )
        for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare",
                     "ReduceLogSumExp")
        for opset in (11, 18)
    },
    "Squeeze and Unsqueeze of opset 11": (
        [
            helper.make_node("Unsqueeze", ["x"], ["wide"], axes=[1, -1]),
            helper.make_node("Squeeze", ["wide"], ["y"], axes=[1]),
        ],
        {}, 11,
    ),
    "Squeeze and Unsqueeze of opset 13": (
        [helper.make_node("Unsqueeze", ["x", "a"], ["wide"]), helper.make_node("Squeeze", ["wide", "b"], ["y"])],
        {"a": [1, -1], "b": [1]}, 13,
    ),
    "Transpose": ([node("Transpose", perm=[0, 2, 3, 1])], {}, 13),
    "Reshape that keeps": ([node("Reshape", "to")], {"to": [0, -1, 8]}, 13),
    "Reshape by the batch": (
        [
            helper.make_node("Shape", ["x"], ["sizes"]), helper.make_node("Gather", ["sizes", "first"], ["batch"]),
            helper.make_node("Unsqueeze", ["batch", "axis"], ["b"]),
            helper.make_node("Concat", ["b", "rest"], ["to"], axis=0), node("Reshape", "to"),
        ],
        {"first": np.array(0), "axis": [0], "rest": [-1]}, 13,
    ),
    "Slice": ([node("Slice", "s", "e", "a", "t")], {"s": [1, -5], "e": [2**31 - 1, -1], "a": [2, 3], "t": [2, 1]}, 13),
    "Slice of opset 9": ([node("Slice", starts=[1, -5], ends=[2**31 - 1, -1], axes=[2, 3])], {}, 9),
    "Slice backwards": ([node("Slice", "s", "e", "a", "t")], {"s": [-1], "e": [-(2**31)], "a": [2], "t": [-1]}, 13),
    "Gather": ([node("Gather", "i", axis=2)], {"i": [3, -1, 0]}, 13),
    "Gather one": ([node("Gather", "i", axis=1)], {"i": np.array(-2)}, 13),
    "Split and Concat": (
        [
            helper.make_node("Split", ["x", "s"], ["a", "b"], axis=2),
            helper.make_node("Concat", ["b", "a"], ["y"], axis=2),
        ],
        {"s": [2, 4]}, 13,
    ),
    "Expand": (
        [helper.make_node("ReduceMean", ["x"], ["m"], axes=[3]), helper.make_node("Expand", ["m", "to"], ["y"])],
        {"to": [1, 4, 6, 5]}, 13,
    ),
    "Tile": ([node("Tile", "n")], {"n": [1, 2, 1, 3]}, 13),
    "Pad": ([node("Pad", "p", "v")], {"p": [0, 0, 1, 2, 0, 0, 0, 3], "v": np.float32(0.5)}, 13),
    "Pad by reflection": ([node("Pad", "p", mode="reflect")], {"p": [0, 0, 1, 2, 0, 0, 0, 3]}, 13),
    "Resize": ([node("Resize", "", "s", coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
               {"s": np.array([1, 1, 2, 3], np.float32)}, 13),
    "Resize linearly": ([node("Resize", "", "", "to", mode="linear")], {"to": [3, 4, 9, 12]}, 13),
    "Einsum": ([node("Einsum", "w", equation="bcij,jk->bcik")], {"w": normal(8, 3)}, 12),
    "DepthToSpace": ([node("DepthToSpace", blocksize=2, mode="CRD")], {}, 13),
    "Cast": ([helper.make_node("Cast", ["x"], ["d"], to=11), helper.make_node("Cast", ["d"], ["y"], to=1)], {}, 13),
    "Sum and Mean and Max": (
        [
            helper.make_node("Sum", ["x", "one", "x"], ["s"]), helper.make_node("Mean", ["s", "x"], ["m"]),
            helper.make_node("Max", ["m", "one"], ["y"]),
        ],
        {"one": np.float32(1)}, 13,
    ),
    "If of a constant": (
        [
            helper.make_node(
                "If", ["yes"], ["y"],
                then_branch=branch("Neg"), else_branch=branch("Hardmax"),
            )
        ],
        {"yes": np.array(True)}, 13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rule_computes_what_onnx_runtime_does(case: str) -> None:
    nodes, constants, opset = CASES[case]
    graph = model(nodes, ["B", *SHAPE[1:]], constants, opset)
    x = normal(*SHAPE)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["y"], {"x": x})
    network = OnnxNetwork(graph, "x", "y").eval()
    with torch.no_grad():
        found = network(torch.from_numpy(x)).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "constants", "said"),
    [
        ([node("Det")], {}, r"operation Det \(y\): there is no rule"),
        ([node("ReduceMean", axes=[0])], {}, "computes over the batch"),
        ([helper.make_node("NonZero", ["x"], ["y"])], {}, "operation NonZero"),
        ([helper.make_node("Foo", ["x"], ["y"], domain="com.microsoft")], {}, r"com.microsoft.Foo"),
    ],
)
def test_an_operation_without_a_rule_is_named(nodes: list[Any], constants: dict[str, Any], said: str) -> None:
    network_of = lambda: OnnxNetwork(model(nodes, ["B", 4, 8, 8], constants, 13), "x", "y")  # noqa: E731
    with pytest.raises(NoGradient, match=said):
        network_of()(torch.zeros(2, 4, 8, 8))
