"""Reads free-form JSON of requests."""

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from services.mesh.call import errors

MAX_BYTES = 64 * 1024


def checked(struct: Struct, field: str) -> None:
    """Refuse what is too large, or no JSON: a native client can send NaN, Infinity and values of no kind.

    Raises:
        InvalidArgument: it is.
    """
    if struct.ByteSize() > MAX_BYTES:
        raise _invalid(field, f"at most {MAX_BYTES} bytes")
    try:
        json_format.MessageToDict(struct)
    except (json_format.Error, ValueError) as error:
        raise _invalid(field, "must be JSON") from error


def text_of(struct: Struct, name: str, field: str) -> str:
    """A text of an object; empty where it has none of that name.

    Raises:
        InvalidArgument: it is something else than a text.
    """
    if name not in struct.fields:
        return ""
    value = struct.fields[name]
    if value.WhichOneof("kind") != "string_value":
        raise _invalid(f"{field}.{name}", "must be a string")
    return value.string_value


def text_map(struct: Struct, name: str, field: str) -> dict[str, str]:
    """Scalars of an object within an object, as texts; empty where it has none of that name.

    Raises:
        InvalidArgument: it is no object, or holds something else than scalars.
    """
    if name not in struct.fields:
        return {}
    value = struct.fields[name]
    if value.WhichOneof("kind") != "struct_value":
        raise _invalid(f"{field}.{name}", "must be an object")
    texts = {}
    for key, each in value.struct_value.fields.items():
        kind = each.WhichOneof("kind")
        if kind == "string_value":
            texts[key] = each.string_value
        elif kind == "number_value":
            texts[key] = f"{each.number_value:.15g}"
        elif kind == "bool_value":
            texts[key] = str(each.bool_value).lower()
        else:
            raise _invalid(f"{field}.{name}.{key}", "must be a string, a number or a boolean")
    return texts


def _invalid(field: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{field}: {why}", violations=(errors.FieldViolation(field, why),))
