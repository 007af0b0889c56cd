"""Reads a form with files as it arrives (RFC 7578), up to limits. Nothing is written to a disk."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from soma.errors.v1 import reasons
from starlette.types import Receive

from gateway.edge.body import DRAINED
from gateway.edge.headers import Headers
from services.mesh.call.errors import Cancelled, FieldViolation, InvalidArgument, MeshError, ResourceExhausted

FORM = b"multipart/form-data"
# Of a part's header: its lines, and the bytes of each. A name is in one of them.
_MOST_HEADERS = 8
_LONGEST_HEADER = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a form may be.

    Attributes:
        file_bytes: of each file.
        text_bytes: of all other parts together.
        parts: number of all parts.
    """

    file_bytes: int
    text_bytes: int = 2 * 1024 * 1024
    parts: int = 256


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form: its name and its media type, as the client says them, and its bytes."""

    name: str
    media_type: str
    data: bytes


@dataclass(slots=True)
class UploadForm:
    """The parts of a form, in their order."""

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, Upload]] = field(default_factory=list)


def is_form(headers: Headers) -> bool:
    """Whether the body is said to be a form with files."""
    said = headers.raw(b"content-type") or b""
    return said.partition(b";")[0].strip().lower() == FORM


async def read_form(receive: Receive, headers: Headers, limits: Limits) -> UploadForm:
    """Read a whole form.

    What comes after a fault is read and dropped, up to a limit: most clients send the whole form before they read the
    answer.

    Raises:
        InvalidArgument: UNSUPPORTED_MEDIA_TYPE, UNSUPPORTED_ENCODING, or BAD_REQUEST: it is no form, or has too many
            parts.
        ResourceExhausted: BODY_TOO_LARGE.
        Cancelled: the client left before the end of the form.
    """
    reader = _Reader(_boundary(headers), limits)
    fault: MeshError | None = None
    received = 0
    more = True
    while more and received <= DRAINED * limits.file_bytes:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away")
        chunk = message.get("body", b"")
        received += len(chunk)
        more = message.get("more_body", False)
        if fault is None and chunk:
            fault = reader.write(chunk)
    if fault is not None:
        raise fault
    return reader.end()


def _boundary(headers: Headers) -> bytes:
    if headers.raw(b"content-encoding") not in (None, b"identity"):
        raise InvalidArgument(
            "Send the request body as it is: no content-encoding is read.", reason=reasons.UNSUPPORTED_ENCODING
        )
    kind, options = parse_options_header(headers.raw(b"content-type") or b"")
    if kind.lower() != FORM:
        said = kind.decode("latin-1")[:128] or "none"
        raise InvalidArgument(
            f"Invalid Content-Type header ({said}). Expected multipart/form-data.",
            reason=reasons.UNSUPPORTED_MEDIA_TYPE,
        )
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _bad("the Content-Type header has no boundary")
    return boundary


class _Reader:
    """Collects the parts."""

    def __init__(self, boundary: bytes, limits: Limits) -> None:
        self._limits = limits
        self._form = UploadForm()
        self._ended = False
        self._parts = self._text_bytes = 0
        self._header_name = self._header_value = b""
        self._name = self._file_name = ""
        self._media_type = ""
        self._is_file = False
        self._pieces: list[bytes] = []
        self._size = 0
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._field,
                    "on_header_value": self._value,
                    "on_header_end": self._header,
                    "on_headers_finished": self._named,
                    "on_part_data": self._data,
                    "on_part_end": self._part,
                    "on_end": self._end,
                },
                max_header_count=_MOST_HEADERS,
                max_header_size=_LONGEST_HEADER,
            )
        except FormParserError as error:
            raise _bad(str(error)) from error

    def write(self, chunk: bytes) -> MeshError | None:
        """Take the next bytes; returns the fault that ends the form, if there is one."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            return _bad(str(error))
        except MeshError as error:
            return error
        return None

    def end(self) -> UploadForm:
        """The form.

        Raises:
            InvalidArgument: it ended before its last boundary.
        """
        if not self._ended:
            raise _bad("the form ends before its last boundary")
        return self._form

    # Callbacks of the parser.

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._limits.parts:
            raise _bad(f"the form has more than {self._limits.parts} parts")
        self._name = self._file_name = self._media_type = ""
        self._is_file = False
        self._pieces, self._size = [], 0

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header(self) -> None:
        name, value = self._header_name.lower(), self._header_value
        self._header_name = self._header_value = b""
        if name == b"content-disposition":
            _, options = parse_options_header(value)
            self._name = _text(options.get(b"name", b""))
            self._is_file = b"filename" in options
            self._file_name = _text(options.get(b"filename", b""))
        elif name == b"content-type":
            self._media_type = value.decode("latin-1").strip()

    def _named(self) -> None:
        if not self._name:
            raise _bad("a part of the form has no name")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._is_file:
            if self._size > self._limits.file_bytes:
                raise _too_large(f"The file '{self._name}'", self._limits.file_bytes, self._name)
        else:
            self._text_bytes += end - start
            if self._text_bytes > self._limits.text_bytes:
                raise _too_large("The text of the form", self._limits.text_bytes, self._name)
        self._pieces.append(data[start:end])

    def _part(self) -> None:
        data, self._pieces = b"".join(self._pieces), []
        if self._is_file:
            self._form.files.append((self._name, Upload(self._file_name, self._media_type, data)))
        else:
            self._form.fields.append((self._name, _text(data)))

    def _end(self) -> None:
        self._ended = True


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _bad("a text of the form is not UTF-8") from error


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(f"We could not parse the form of your request: {why}.", reason=reasons.BAD_REQUEST)


def _too_large(what: str, limit: int, param: str) -> ResourceExhausted:
    message = f"{what} is larger than {limit} bytes."
    return ResourceExhausted(message, reason=reasons.BODY_TOO_LARGE, violations=[FieldViolation(param, message)])
