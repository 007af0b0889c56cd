"""Writes a form with files (RFC 7578) for a vendor's server."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.model.adapters.http1.connections import Form

# Nobody outside this process knows it, so no file can have it in itself.
_BOUNDARY = f"somamesh-{secrets.token_hex(16)}"
FORM = Form(f"multipart/form-data; boundary={_BOUNDARY}", "text/event-stream, application/json")
# Characters that end a quoted name, or the line that it is in (HTML standard, 4.10.21.8).
_UNSAFE = re.compile(r'[\x00-\x1f"\x7f]')


@dataclass(frozen=True, slots=True)
class File:
    """A file of a form."""

    name: str
    media_type: str
    data: bytes


def form_of(members: Mapping[str, Any], files: Sequence[tuple[str, File]]) -> tuple[bytes, Form]:
    """The body of a form, and its media types. A list becomes several members, an object JSON text."""
    return b"".join(_pieces(members, files)), FORM


def _pieces(members: Mapping[str, Any], files: Sequence[tuple[str, File]]) -> Iterator[bytes]:
    for name, value in members.items():
        several = isinstance(value, list)
        for each in value if several else (value,):
            yield _head(f"{name}[]" if several else name)
            yield _text(each)
            yield b"\r\n"
    for name, file in files:
        yield _head(name, file)
        yield file.data
        yield b"\r\n"
    yield f"--{_BOUNDARY}--\r\n".encode()


def _head(name: str, file: File | None = None) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if file is not None:
        head += f'; filename="{_quoted(file.name)}"\r\nContent-Type: {file.media_type}'
    return f"{head}\r\n\r\n".encode()


def _quoted(name: str) -> str:
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", name)


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return orjson.dumps(value)
