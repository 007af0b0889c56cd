"""Secret files of a data directory: each is made once, and only its owner can read it."""

import os
import secrets
from pathlib import Path

from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.credential import checked


def ensure_key(path: Path, prefix: str = "") -> str:
    """Read the key in `path`; make a random one (256 bit, mode 0600) if there is none.

    Raises:
        FailedPrecondition: the file can be read by others, or is empty.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_key(path)
    with os.fdopen(handle, "w") as file:
        file.write(f"{prefix}{secrets.token_urlsafe(32)}\n")
    return read_key(path)


def read_key(path: Path) -> str:
    """Read the key in `path`.

    Raises:
        FailedPrecondition: the file is missing or empty, holds no key, or can be read by others.
    """
    try:
        mode = path.stat().st_mode
        key = checked(path.read_text("utf-8"))
    except FileNotFoundError:
        raise errors.FailedPrecondition(f"{path} does not exist", reason=reasons.KEY_MISSING) from None
    except UnicodeDecodeError as error:
        raise errors.FailedPrecondition(f"{path} is no text in UTF-8", reason=reasons.KEY_MALFORMED) from error
    except ValueError as error:
        raise errors.FailedPrecondition(f"{path}: {error}", reason=reasons.KEY_MALFORMED) from error
    if mode & 0o077:
        raise errors.FailedPrecondition(f"{path} can be read by others; chmod 600 it", reason=reasons.KEY_EXPOSED)
    if not key:
        raise errors.FailedPrecondition(
            f"{path} is empty; delete it to have a new one made", reason=reasons.KEY_MISSING
        )
    return key


def read_key_if_any(path: Path) -> str | None:
    """Read the key in `path`; None if there is no such file.

    Raises:
        FailedPrecondition: the file is empty, holds no key, or can be read by others.
    """
    return read_key(path) if path.exists() else None
