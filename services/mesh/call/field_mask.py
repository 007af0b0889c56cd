"""Updates by a field mask: which fields of a message change, and to what."""

from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from soma.errors.v1 import reasons

from services.mesh.call import errors

M = TypeVar("M", bound=Message)


def updated(stored: M, given: M, mask: FieldMask, changeable: frozenset[str]) -> M:
    """`stored` with the fields that `mask` names taken from `given`; a field that is unset there is cleared.

    Without a mask, the fields that are set in `given` are taken. `changeable` names the fields of the message itself
    that a caller may change, whole or in part.

    Raises:
        InvalidArgument: the mask names a field that the message does not have, or that may not change.
    """
    paths = list(mask.paths) or [field.name for field, _ in given.ListFields() if field.name in changeable]
    for path in paths:
        if not FieldMask(paths=[path]).IsValidForDescriptor(stored.DESCRIPTOR):  # type: ignore[arg-type]
            raise _refused(path, "the message has no such field")
        if path.partition(".")[0] not in changeable:
            raise _refused(path, "this field cannot be changed")
    result = type(stored)()
    result.CopyFrom(stored)
    FieldMask(paths=paths).MergeMessage(given, result, replace_message_field=True, replace_repeated_field=True)
    return result


def _refused(path: str, why: str) -> errors.InvalidArgument:
    violation = errors.FieldViolation("update_mask", f"{path}: {why}")
    return errors.InvalidArgument(
        f"update_mask: {path}: {why}", reason=reasons.FIELD_MASK_INVALID, violations=[violation]
    )
