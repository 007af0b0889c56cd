"""Passwords: argon2id, checked in threads, a few at a time because each check takes 64 MiB and a tenth of a second."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from soma.errors.v1 import reasons

from services.mesh.call import errors

SHORTEST = 12
_AT_ONCE = 2
_MADE_BYTES = 15
# Words that make a password no harder to guess.
_WEAK = (
    *("administrator", "changeme", "iloveyou", "letmein", "passwort"),
    *("password", "qwerty", "secret", "somamesh", "welcome"),
)


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self) -> None:
        # The second recommended set of RFC 9106: 64 MiB, 3 passes, 4 lanes.
        self._hasher = PasswordHasher()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._nobody: str | None = None

    async def hashed(self, password: str) -> str:
        """The hash of a password, with its own salt and parameters."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, hashed: str | None) -> bool:
        """Whether a password has this hash. It takes as long for a user who does not exist, or has no password."""
        if self._nobody is None:
            self._nobody = await self.hashed(secrets.token_urlsafe())
        async with self._slots:
            right = await asyncio.to_thread(self._verify, password, hashed or self._nobody)
        return right and hashed is not None

    def _verify(self, password: str, hashed: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError) as error:
            raise errors.Internal("the stored hash of a password cannot be read") from error


def made() -> str:
    """A random password for people to copy: 120 bits."""
    return secrets.token_urlsafe(_MADE_BYTES)


def require_strong(password: str, username: str) -> None:
    """Refuse a password that is guessed easily.

    Raises:
        InvalidArgument: it is too short, has few different characters, or contains the user's name or little else than
            a common word.
    """
    reduced = password.lower()
    for word in (username.lower(), *_WEAK):
        reduced = reduced.replace(word, "") if word else reduced
    if len(password) < SHORTEST or len(set(password)) < SHORTEST // 2 or len(reduced) < SHORTEST - 4:
        raise errors.InvalidArgument(
            f"a password has at least {SHORTEST} characters, not all alike, and is more than the username or a common "
            "word",
            reason=reasons.PASSWORD_TOO_WEAK,
        )
