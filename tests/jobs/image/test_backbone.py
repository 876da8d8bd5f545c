"""The ONNX graph computes what the network is defined to compute, and it sees in pictures what ImageNet taught it."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from jobkit.image.backbone import (
    BATCH_NORM_EPSILON,
    BLOCKS,
    TAP_CHANNELS,
    Backbone,
    GraphBuilder,
    backbone_graph,
    packaged_weights,
)
from jobkit.image.batches import decoded

BACKGROUNDS = Path(__file__).resolve().parents[3] / "samples" / "material" / "backgrounds"
Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def weights() -> dict[str, NDArray]:
    return packaged_weights()


def same_padded(x: Array, kernel: int, stride: int) -> Array:
    """TensorFlow's "same": ceil(in / stride) outputs, an odd pixel of padding goes to the end."""
    pads = []
    for size in x.shape[1:]:
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, [(0, 0), *pads])


def convolved(x: Array, weight: Array, stride: int, groups: int) -> Array:
    """Plain sums over windows; x (c, h, w), weight (out, in / groups, k, k)."""
    kernel = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(same_padded(x, kernel, stride), (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    if groups == 1:
        return np.einsum("chwij,ocij->ohw", windows, weight)
    return np.einsum("chwij,cij->chw", windows, weight[:, 0])


def normalised(x: Array, weights: dict[str, NDArray], name: str) -> Array:
    gamma, beta, mean, var = (
        weights[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return gamma * (x - mean) / np.sqrt(var + BATCH_NORM_EPSILON) + beta


def reference_block(x: Array, index: int, weights: dict[str, NDArray]) -> Array:
    block, name = BLOCKS[index], f"_blocks.{index}"
    inner = x
    if block.expand != 1:
        inner = normalised(convolved(inner, weights[f"{name}._expand_conv.weight"], 1, 1), weights, f"{name}._bn0")
        inner = inner.clip(0, 6)
    depthwise = weights[f"{name}._depthwise_conv.weight"]
    inner = normalised(convolved(inner, depthwise, block.stride, len(inner)), weights, f"{name}._bn1").clip(0, 6)
    inner = normalised(convolved(inner, weights[f"{name}._project_conv.weight"], 1, 1), weights, f"{name}._bn2")
    return inner + x if block.residual else inner


@pytest.mark.parametrize(
    ("index", "height", "width"),
    [
        pytest.param(0, 12, 12, id="no expansion"),
        pytest.param(1, 12, 13, id="3 x 3 stride 2, even and odd side"),
        pytest.param(2, 11, 12, id="3 x 3 with residual"),
        pytest.param(3, 13, 16, id="5 x 5 stride 2"),
        pytest.param(9, 7, 9, id="5 x 5 with residual"),
    ],
)
def test_a_block_computes_the_definition(weights: dict[str, NDArray], index: int, height: int, width: int) -> None:
    block = BLOCKS[index]
    x = np.random.default_rng(index).normal(size=(block.channels_in, height, width)).astype(np.float32)
    builder = GraphBuilder(weights)
    out = builder.block("x", index, block)
    graph = helper.make_graph(
        builder.nodes,
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", block.channels_in, "h", "w"])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (computed,) = session.run(None, {"x": x[None]})
    np.testing.assert_allclose(computed[0], reference_block(x.astype(np.float64), index, weights), atol=2e-4)


def test_the_graph_is_valid_onnx_and_each_tap_has_its_channels_and_stride(weights: dict[str, NDArray]) -> None:
    onnx.checker.check_model(onnx.load_from_string(backbone_graph(weights, TAP_CHANNELS)), full_check=True)
    maps = Backbone(TAP_CHANNELS, threads=1).maps(np.zeros((2, 3, 96, 70), np.float32))
    strides = {"s8": 8, "s16": 16, "s32": 32, "head": 32}
    assert {tap: found.shape for tap, found in maps.items()} == {
        tap: (2, channels, math.ceil(96 / strides[tap]), math.ceil(70 / strides[tap]))
        for tap, channels in TAP_CHANNELS.items()
    }


def test_an_unknown_tap_is_refused(weights: dict[str, NDArray]) -> None:
    with pytest.raises(ValueError, match="taps must be some of s8, s16, s32, head"):
        backbone_graph(weights, ["s4"])


@pytest.mark.parametrize(
    ("file", "classes"),
    [
        pytest.param("chelsea_0.jpg", {281, 282, 285, 287}, id="a cat"),
        pytest.param("coffee_0.jpg", {504, 925, 960, 967, 968}, id="a cup of coffee"),
        pytest.param("rocket_0.jpg", {657, 744}, id="a rocket"),
    ],
)
def test_the_network_recognises_what_imagenet_taught_it(
    weights: dict[str, NDArray], file: str, classes: set[int]
) -> None:
    pixels = decoded((BACKGROUNDS / file).read_bytes(), 224)
    picture = (pixels.transpose(2, 0, 1)[None].astype(np.float32) - 127) / 128
    pooled = Backbone(["head"], threads=1).maps(picture)["head"].mean((2, 3))[0]
    scores = weights["_fc.weight"] @ pooled + weights["_fc.bias"]
    assert int(scores.argmax()) in classes
