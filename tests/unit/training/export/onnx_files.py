"""Small ONNX files with the structure of those that other tools write."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Constants = dict[str, Any]


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: Constants,
    opset: int = 18,
    outputs: Sequence[str] = ("y",),
    more: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    """A graph of one input `x` of that shape; lists of whole numbers among the constants are int64."""
    initializers = [
        numpy_helper.from_array(
            value if isinstance(value, np.ndarray) else np.array(value, np.int64 if _whole(value) else np.float32), name
        )
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape)), *more],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def keras(bands: int, frames: int, batch: int | str = "unk__6", opset: int = 13) -> onnx.ModelProto:
    """As tf2onnx writes a convnet of Keras: channels behind, SAME padding, names of variables, a softmax at the end."""
    rng, node = np.random.default_rng(0), helper.make_node
    height, width = -(-bands // 2) // 2, -(-frames // 2) // 2
    normal = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    return model(
        [
            node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2], name="sequential/conv2d/Conv2D__6"),
            node("Conv", ["nchw", "sequential/conv2d/Conv2D/ReadVariableOp:0", "b"], ["conv"], auto_pad="SAME_UPPER",
                 strides=[2, 2], kernel_shape=[3, 3], name="sequential/conv2d/Conv2D"),
            node("BatchNormalization", ["conv", "gamma", "beta", "mean", "var"], ["normed"], epsilon=1e-3),
            node("Relu", ["normed"], ["active"]),
            node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Transpose", ["pooled"], ["nhwc"], perm=[0, 2, 3, 1]),
            node("Reshape", ["nhwc", "flat"], ["rows"]),
            node("MatMul", ["rows", "sequential/dense/MatMul/ReadVariableOp:0"], ["product"]),
            node("Add", ["product", "bias"], ["hidden"]),
            node("Relu", ["hidden"], ["hidden_active"]),
            node("MatMul", ["hidden_active", "sequential/dense_1/MatMul/ReadVariableOp:0"], ["scores"]),
            node("Add", ["scores", "bias_1"], ["logits"]),
            node("Softmax", ["logits"], ["y"], **({} if opset >= 13 else {"axis": 1})),
        ],
        [batch, bands, frames, 1],
        {
            "sequential/conv2d/Conv2D/ReadVariableOp:0": normal(4, 1, 3, 3), "b": normal(4),
            "gamma": normal(4), "beta": normal(4), "mean": normal(4), "var": np.abs(normal(4)) + 0.5,
            "flat": [-1 if isinstance(batch, str) else batch, 4 * height * width],
            "sequential/dense/MatMul/ReadVariableOp:0": normal(4 * height * width, 6), "bias": normal(6),
            "sequential/dense_1/MatMul/ReadVariableOp:0": normal(6, 3), "bias_1": normal(3),
        },
        opset,
    )  # fmt: skip


def logistic(size: int, classes: int = 3) -> onnx.ModelProto:
    """As skl2onnx writes logistic regression with its defaults: labels, and probabilities as a list of maps."""
    rng, node = np.random.default_rng(1), helper.make_node
    coefficients, intercepts = rng.normal(0, 0.05, (classes, size)), rng.normal(size=classes)
    if classes == 2:
        coefficients[0], intercepts[0] = -coefficients[1], -intercepts[1]
    made = model(
        [
            node("LinearClassifier", ["x"], ["label", "raw"], domain="ai.onnx.ml",
                 classlabels_ints=list(range(classes)),
                 coefficients=coefficients.ravel().tolist(), intercepts=intercepts.tolist(),
                 multi_class=1, post_transform="LOGISTIC" if classes == 2 else "SOFTMAX"),
            node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
            node("Cast", ["label"], ["output_label"], to=TensorProto.INT64),
            node("ZipMap", ["probabilities"], ["output_probability"], domain="ai.onnx.ml",
                 classlabels_int64s=list(range(classes))),
        ],
        ["N", size], {}, 9, outputs=[],
    )  # fmt: skip
    made.graph.output.extend(
        [
            helper.make_tensor_value_info("output_label", TensorProto.INT64, ["N"]),
            helper.make_value_info(
                "output_probability",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
                    )
                ),
            ),
        ]
    )
    return made


def tree(size: int) -> onnx.ModelProto:
    """As skl2onnx writes a decision tree without its maps: three leaves by the values of two places."""
    node = helper.make_node
    made = model(
        [
            node(
                "TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1],
                nodes_treeids=[0] * 5, nodes_nodeids=[0, 1, 2, 3, 4], nodes_featureids=[0, 0, size // 2, 0, 0],
                nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"], nodes_values=[0.0] * 5,
                nodes_truenodeids=[1, 0, 3, 0, 0], nodes_falsenodeids=[2, 0, 4, 0, 0],
                class_treeids=[0] * 6, class_nodeids=[1, 1, 3, 3, 4, 4], class_ids=[0, 1] * 3,
                class_weights=[0.8, 0.2, 0.5, 0.5, 0.1, 0.9], post_transform="NONE",
            )
        ],
        ["N", size], {}, 17,
    )  # fmt: skip
    made.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    return made


def silero(samples: int = 96) -> onnx.ModelProto:
    """As silero-vad's file is: a waveform, a state and a rate in, one of two branches by the rate."""
    node = helper.make_node
    branches = [
        helper.make_graph(
            [
                node("Constant", [], [f"w{scale}"], value_floats=[scale] * samples),
                node("Constant", [], [f"s{scale}"], value_ints=[samples, 1]),
                node("Reshape", [f"w{scale}", f"s{scale}"], [f"m{scale}"]),
                node("MatMul", ["x", f"m{scale}"], [f"p{scale}"]),
                node("Sigmoid", [f"p{scale}"], [f"o{scale}"]),
            ],
            f"at{scale}",
            [],
            [helper.make_tensor_value_info(f"o{scale}", TensorProto.FLOAT, None)],
        )
        for scale in (0.01, 0.02)
    ]  # fmt: skip
    return model(
        [
            node("Equal", ["sr", "rate"], ["is_16k"]),
            node("If", ["is_16k"], ["output"], then_branch=branches[0], else_branch=branches[1]),
            node("Identity", ["state"], ["stateN"]),
        ],
        ["batch", samples],
        {"rate": np.array(16000, np.int64)},
        16,
        outputs=["output", "stateN"],
        more=[
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, "batch", 4]),
            helper.make_tensor_value_info("sr", TensorProto.INT64, []),
        ],
    )


def _whole(value: Any) -> bool:
    return all(isinstance(each, int) for each in (value if isinstance(value, list) else [value]))
