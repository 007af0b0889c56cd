"""Secrets a stack makes for itself: written once, readable by their owner alone."""

import os
import secrets
from pathlib import Path

from services.mesh.errors import FailedPrecondition


def secret(path: Path, prefix: str = "") -> str:
    """The secret in `path`, made on the first call (mode 0600).

    Raises:
        FailedPrecondition: others can read the file, or it is empty.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise FailedPrecondition(
                f"{path} can be read by others: chmod 600 {path}", reason="SECRET_EXPOSED"
            ) from None
        value = path.read_text().strip()
        if not value:
            raise FailedPrecondition(
                f"{path} is empty: delete it to have a new one made", reason="SECRET_EMPTY"
            ) from None
        return value
    value = prefix + secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(value + "\n")
    return value
