"""Reads the header of a GGUF file, and checks its size (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
# More than any model has. A damaged file may name any number, and nothing is read for it.
_MOST_KEYS = 100_000
_MOST_TENSORS = 1_000_000
_MOST_DIMENSIONS = 8
# Headers are a few MiB long, most of it vocabulary. What is longer than the last of these is damaged.
_READ_BYTES = (4 * 1024 * 1024, 64 * 1024 * 1024, 512 * 1024 * 1024)
_ALIGNMENT = 32
_DAMAGED = "its header is damaged or cut off"
# Elements and bytes of a block, by the number of the tensor's type. Of other types only the begin is checked.
_BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    30: (1, 2),
}


class NotGguf(ValueError):
    """The file is not a GGUF file that can be used; the text says why."""


@dataclass(frozen=True)
class Facts:
    """What the header says of a model.

    Attributes:
        name: of the training run, which is seldom the name that people use; may be empty.
        context: tokens that it was trained for; 0 if the header does not say it.
        cache_bytes: memory of one token of context, for keys and values of 16 bits.
        size: bytes of the file.
    """

    architecture: str
    name: str
    organization: str
    context: int
    cache_bytes: int
    template: str
    size: int


def read(path: Path) -> Facts:
    """The facts of a file, after a check that all its tensors are there.

    Raises:
        NotGguf: it is no GGUF file, damaged, or cut off.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = b""
        for limit in _READ_BYTES:
            data += file.read(limit - len(data))
            try:
                return _Header(data).facts(size)
            except struct.error:
                # The header is longer than what was read.
                if len(data) < limit:
                    break
            except OverflowError:
                break
    raise NotGguf(_DAMAGED)


class _Header:
    """Reads values one after the other; struct.error means that the data ends before."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def facts(self, size: int) -> Facts:
        """The facts of the model in a file of `size` bytes."""
        if self._data[:4] != _MAGIC:
            raise NotGguf("it is not a GGUF file")
        self._at = 4
        version, tensors, keys = self._number("<I"), self._number("<Q"), self._number("<Q")
        if version not in _VERSIONS:
            raise NotGguf(f"it has version {version} of GGUF; {' and '.join(map(str, _VERSIONS))} can be read")
        if keys > _MOST_KEYS or tensors > _MOST_TENSORS:
            raise NotGguf(_DAMAGED)
        found: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            found[key] = self._value(self._number("<I"))
        if not found.get("general.architecture") or not tensors:
            raise NotGguf("it holds no model")
        end = self._end_of_tensors(tensors)
        alignment = found.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise NotGguf(_DAMAGED)
        needed = math.ceil(self._at / alignment) * alignment + end
        if needed > size:
            raise NotGguf(f"it is cut off: it has {size} bytes, and its tensors end at {needed}")
        return _facts(found, size)

    def _end_of_tensors(self, tensors: int) -> int:
        """Where the last tensor ends, in bytes after the begin of the data."""
        end = 0
        for _ in range(tensors):
            self._string()
            dimensions = self._number("<I")
            if dimensions > _MOST_DIMENSIONS:
                raise NotGguf(_DAMAGED)
            elements = math.prod(self._number("<Q") for _ in range(dimensions))
            kind, offset = self._number("<I"), self._number("<Q")
            per_block, of_block = _BLOCKS.get(kind, (1, 0))
            end = max(end, offset + elements // per_block * of_block)
        return end

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _NUMBERS:
            raise NotGguf(_DAMAGED)
        return self._number(_NUMBERS[kind])

    def _array(self) -> list[Any]:
        """The numbers of an array. Texts, of which a vocabulary has many, are passed over."""
        kind, length = self._number("<I"), self._number("<Q")
        if kind in _NUMBERS:
            form = f"<{length}{_NUMBERS[kind][1]}"
            values = struct.unpack_from(form, self._data, self._at)
            self._at += struct.calcsize(form)
            return list(values)
        if kind != _STRING:
            raise NotGguf(_DAMAGED)
        data, at, length_of = self._data, self._at, struct.Struct("<Q").unpack_from
        for _ in range(length):
            at += 8 + length_of(data, at)[0]
        self._at = at
        return []

    def _string(self) -> str:
        length = self._number("<Q")
        begin = self._at
        self._at += length
        if self._at > len(self._data):
            raise struct.error
        return self._data[begin : self._at].decode("utf-8", "replace")

    def _number(self, form: str) -> Any:
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value


def _facts(found: Mapping[str, Any], size: int) -> Facts:
    architecture = str(found["general.architecture"])

    def count(name: str) -> int:
        # Some models have one value for each layer.
        value = found.get(f"{architecture}.{name}")
        if isinstance(value, list):
            value = max((each for each in value if isinstance(each, int)), default=0)
        return value if isinstance(value, int) and value > 0 else 0

    heads = count("attention.head_count") or 1
    of_head = count("embedding_length") // heads
    width = (count("attention.key_length") or of_head) + (count("attention.value_length") or of_head)
    return Facts(
        architecture=architecture,
        name=str(found.get("general.name", "")),
        organization=str(found.get("general.organization", "")),
        context=count("context_length"),
        cache_bytes=count("block_count") * (count("attention.head_count_kv") or heads) * width * 2,
        template=str(found.get("tokenizer.chat_template", "")),
        size=size,
    )
