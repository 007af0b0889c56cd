"""The `Idempotency-Key` of a client as a `request_id`, so that a repeated request is carried out once."""

import uuid

_NAMESPACE = uuid.UUID("6f9d3c52-5a0e-4a5f-9d4e-0c6c1f6f7c11")


def request_id(key: bytes | None) -> str:
    """The `request_id` for a key: equal for equal keys, and empty without a key."""
    if not key:
        return ""
    return str(uuid.uuid5(_NAMESPACE, key.decode("latin-1")))
