"""What makes a repeated request harmless: the `Idempotency-Key` a client sends along with each attempt."""

import uuid

_NAMESPACE = uuid.UUID("6f9d3c52-5a0e-4a5f-9d4e-0c6c1f6f7c11")


def request_id(key: bytes | None) -> str:
    """The contract's `request_id` of a key, the same for the same key; empty without one."""
    if not key:
        return ""
    return str(uuid.uuid5(_NAMESPACE, key.decode("latin-1")))
