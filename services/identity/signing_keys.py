"""The keys that sign tokens: made and replaced by time, kept encrypted, published as a key set.

A new key is published for a while before it signs, so that whoever keeps the key set knows it by then. An old key is
published until the last token that it signed has expired.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from soma.errors.v1 import reasons
from soma.identity.v1 import auth_service_pb2 as pb

from services.mesh.call import errors

PUBLISHED_BEFORE = timedelta(hours=1)
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is kept.

    Attributes:
        private_key: a nonce, and the encrypted bytes of the key.
        sign_time: from when on it signs, until a later key does.
        retire_time: from when on its tokens are refused; None while no later key signs.
    """

    key_id: str
    public_key: bytes
    private_key: bytes
    sign_time: datetime
    retire_time: datetime | None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that can be used now."""

    key_id: str
    public: Ed25519PublicKey
    private: Ed25519PrivateKey
    sign_time: datetime
    retire_time: datetime | None


class KeyWrap:
    """Encrypts private keys with a key that is derived from the internal key of the stack (HKDF, AES-256-GCM)."""

    def __init__(self, internal_key: bytes) -> None:
        derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"soma.identity.signing-key").derive(internal_key)
        self._cipher = AESGCM(derived)

    def make(self, sign_time: datetime) -> StoredKey:
        """A new key."""
        private = Ed25519PrivateKey.generate()
        key_id, nonce = secrets.token_hex(8), secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, private.private_bytes_raw(), key_id.encode())
        return StoredKey(key_id, private.public_key().public_bytes_raw(), nonce + sealed, sign_time, None)

    def open(self, stored: StoredKey) -> SigningKey:
        """The key, decrypted.

        Raises:
            FailedPrecondition: the internal key is not the one it was encrypted with.
        """
        nonce, sealed = stored.private_key[:_NONCE_BYTES], stored.private_key[_NONCE_BYTES:]
        try:
            raw = self._cipher.decrypt(nonce, sealed, stored.key_id.encode())
        except InvalidTag as error:
            raise errors.FailedPrecondition(
                "internal.key is not the one that this database was made with; put it back, or delete the rows of "
                "identity.signing_key, which ends all sessions",
                reason=reasons.INTERNAL_KEY_CHANGED,
            ) from error
        private = Ed25519PrivateKey.from_private_bytes(raw)
        return SigningKey(stored.key_id, private.public_key(), private, stored.sign_time, stored.retire_time)


def signing(keys: Sequence[SigningKey], now: datetime) -> SigningKey:
    """The key that signs now: the newest whose time has come.

    Raises:
        Unavailable: there is none.
    """
    ready = [key for key in keys if key.sign_time <= now and (key.retire_time is None or now < key.retire_time)]
    if not ready:
        raise errors.Unavailable("there is no key yet to sign tokens with", reason=reasons.IDENTITY_UNAVAILABLE)
    return max(ready, key=lambda key: key.sign_time)


def due(sign_times: Sequence[datetime], now: datetime, every: timedelta) -> datetime | None:
    """When the next key is to begin to sign, if it has to be made now; None otherwise."""
    if not sign_times:
        return now
    next_time = max(sign_times) + every
    return max(next_time, now + PUBLISHED_BEFORE) if now >= next_time - PUBLISHED_BEFORE else None


def published(keys: Sequence[SigningKey], now: datetime) -> pb.GetJwksResponse:
    """The key set, newest first."""
    valid = [key for key in keys if key.retire_time is None or now < key.retire_time]
    valid.sort(key=lambda key: key.sign_time, reverse=True)
    return pb.GetJwksResponse(
        keys=[
            pb.Jwk(
                kty="OKP",
                crv="Ed25519",
                alg="EdDSA",
                use="sig",
                kid=key.key_id,
                x=base64.urlsafe_b64encode(key.public.public_bytes_raw()).rstrip(b"=").decode(),
            )
            for key in valid
        ]
    )
