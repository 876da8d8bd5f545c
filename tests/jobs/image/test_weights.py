"""The packaged weights are read without torch, and a checkpoint that asks for anything but tensors is refused."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from jobkit.image.backbone import WEIGHTS_SHA256, packaged_weights
from jobkit.image.weights import LEGACY_PROTOCOL, MAGIC, BadWeightsError, read_checkpoint

NUMBERS = np.arange(6, dtype="<f4")


def tensor_pickle(module: str = "torch._utils", name: str = "_rebuild_tensor_v2", size: int = 6) -> bytes:
    """{"a": function(storage, 0, (2, 3), (3, 1), False, OrderedDict())} as torch writes it, spelled in opcodes."""
    reference = (
        b"(X\x07\x00\x00\x00storage"
        + b"ctorch\nFloatStorage\n"
        + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + b"K"
        + bytes([size])
        + b"NtQ"
    )
    arguments = b"(" + reference + b"K\x00(K\x02K\x03t(K\x03K\x01t\x89ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}X\x01\x00\x00\x00a" + b"c" + f"{module}\n{name}\n".encode() + arguments + b"Rs."


def checkpoint(objects: bytes, storage: bytes | None = None) -> bytes:
    head = [MAGIC, LEGACY_PROTOCOL, {"protocol_version": LEGACY_PROTOCOL, "little_endian": True}]
    body = struct.pack("<q", NUMBERS.size) + NUMBERS.tobytes() if storage is None else storage
    return b"".join(pickle.dumps(part, 2) for part in head) + objects + pickle.dumps(["0"], 2) + body


def test_a_legacy_checkpoint_gives_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(checkpoint(tensor_pickle()))
    tensors = read_checkpoint(path)
    assert list(tensors) == ["a"]
    np.testing.assert_array_equal(tensors["a"], NUMBERS.reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(
            checkpoint(tensor_pickle("posix", "system")), "asks for posix.system", id="a function of the system"
        ),
        pytest.param(checkpoint(tensor_pickle("builtins", "eval")), "asks for builtins.eval", id="eval"),
        pytest.param(checkpoint(tensor_pickle(), b""), "cut off", id="no storage"),
        pytest.param(checkpoint(tensor_pickle(), struct.pack("<q", 6) + b"\0" * 20), "cut off", id="short storage"),
        pytest.param(
            checkpoint(tensor_pickle(), struct.pack("<q", 4) + b"\0" * 16),
            "outside its storage",
            id="storage too small",
        ),
        pytest.param(pickle.dumps(OrderedDict(a=1), 2), "cannot be read", id="another pickle"),
        pytest.param(b"", "cannot be read", id="empty"),
        pytest.param(b"PK\x03\x04zip", "cannot be read", id="a zip"),
    ],
)
def test_what_is_no_checkpoint_of_tensors_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(BadWeightsError, match=says):
        read_checkpoint(path)


def test_other_bytes_than_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(checkpoint(tensor_pickle()))
    with pytest.raises(BadWeightsError, match="not the expected content"):
        read_checkpoint(path, WEIGHTS_SHA256)


def test_the_packaged_weights_are_all_of_the_network() -> None:
    weights = packaged_weights()
    trainable = [name for name in weights if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    assert sum(weights[name].size for name in trainable) == 4_652_008
    assert weights["_fc.weight"].shape == (1000, 1280)
