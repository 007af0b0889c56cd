"""Reads the free-form JSON of requests: the config of a session, and the metadata of a message."""

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from soma.errors.v1 import reasons

from services.mesh.call import errors

MAX_BYTES = 64 * 1024
# These would guide the creation of an agent; to accept them without effect would be a false promise.
_UNSUPPORTED = ("max_iterations", "validation_level", "auto_finalize", "custom_templates")


def check_json(struct: Struct, field: str) -> None:
    """Refuse an object that is too large or not JSON: a native client can send NaN, Infinity and empty values.

    Raises:
        InvalidArgument: the object is one of these.
    """
    if struct.ByteSize() > MAX_BYTES:
        raise _invalid(field, f"at most {MAX_BYTES} bytes")
    try:
        json_format.MessageToDict(struct)
    except (json_format.Error, ValueError) as error:
        raise _invalid(field, "must be JSON") from error


def text_of(struct: Struct, name: str, field: str) -> str:
    """The string `name` of an object; empty if the object does not have it.

    Raises:
        InvalidArgument: the value is not a string.
    """
    if name not in struct.fields:
        return ""
    value = struct.fields[name]
    if value.WhichOneof("kind") != "string_value":
        raise _invalid(f"{field}.{name}", "must be a string")
    return value.string_value


def texts_of(struct: Struct, name: str, field: str) -> dict[str, str]:
    """The values of the object `name` in an object, as strings; empty if the object does not have it.

    Raises:
        InvalidArgument: the value is not an object, or holds other values than strings, numbers and booleans.
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


def refuse_unsupported(config: Struct) -> None:
    """Refuse a config with fields that have no effect here.

    Raises:
        InvalidArgument: CONFIG_NOT_SUPPORTED: the config has such a field.
    """
    found = [name for name in _UNSUPPORTED if name in config.fields]
    if found:
        raise errors.InvalidArgument(
            f"config.{', config.'.join(found)}: sessions create no agents, so this would have no effect; leave it out",
            reason=reasons.CONFIG_NOT_SUPPORTED,
            violations=[errors.FieldViolation(f"config.{name}", "has no effect here; leave it out") for name in found],
        )


def _invalid(field: str, problem: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"{field}: {problem}", violations=(errors.FieldViolation(field, problem),))
