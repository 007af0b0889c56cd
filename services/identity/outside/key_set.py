"""The keys in a JSON Web Key Set (RFC 7517) that can verify signatures, and are strong enough."""

import binascii
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import InvalidKeyError

MOST_KEYS = 64
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA_BITS = range(2048, 8193)
# Public keys have none of these.
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KINDS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
# Those modulo which not every number is a power of 65537.
_SMALL_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


@dataclass(frozen=True, slots=True)
class OutsideKey:
    """A public key, and the algorithms that its signatures may have."""

    key_id: str | None
    algorithms: frozenset[str]
    public: Any


class KeySet:
    """The usable keys of a set. What is not usable is left out, because others in the set may be."""

    def __init__(self, keys: Sequence[OutsideKey]) -> None:
        # Two keys with one id: nobody can say which one a token means.
        times = Counter(key.key_id for key in keys if key.key_id is not None)
        self._keys = [key for key in keys if key.key_id is None or times[key.key_id] == 1]

    @classmethod
    def of(cls, document: object) -> "KeySet":
        """The keys in a document.

        Raises:
            ValueError: it is no key set.
        """
        entries = document.get("keys") if isinstance(document, Mapping) else None
        if not isinstance(entries, list) or len(entries) > MOST_KEYS:
            raise ValueError("it is no JSON Web Key Set")
        read = [_key(entry) for entry in entries if isinstance(entry, Mapping)]
        return cls([key for key in read if key is not None])

    def find(self, key_id: object, algorithm: str) -> OutsideKey | None:
        """The key with an id, or the only one for an algorithm if a token names none; None if there is no such key."""
        fit = [key for key in self._keys if algorithm in key.algorithms and key_id in (None, key.key_id)]
        return fit[0] if len(fit) == 1 else None


def _key(entry: Mapping[str, Any]) -> OutsideKey | None:
    if not _SECRET.isdisjoint(entry) or entry.get("use", "sig") != "sig":
        return None
    if "key_ops" in entry and (not isinstance(entry["key_ops"], list) or "verify" not in entry["key_ops"]):
        return None
    key_id, named, kind = entry.get("kid"), entry.get("alg"), entry.get("kty")
    if not isinstance(key_id, str | None) or not isinstance(kind, str) or kind not in _KINDS:
        return None
    try:
        public = get_default_algorithms()[_KINDS[kind]].from_jwk(dict(entry))
    except (InvalidKeyError, UnsupportedAlgorithm, binascii.Error, ValueError, TypeError, KeyError):
        return None
    algorithms = _algorithms(public)
    if named is not None:
        algorithms &= {named} if isinstance(named, str) else frozenset()
    return OutsideKey(key_id, algorithms, public) if algorithms else None


def _algorithms(public: object) -> frozenset[str]:
    if isinstance(public, RSAPublicKey):
        numbers = public.public_numbers()
        strong = public.key_size in _RSA_BITS and numbers.e > 2 and numbers.e % 2 == 1 and not _is_roca(numbers.n)
        return _RSA if strong else frozenset()
    if isinstance(public, EllipticCurvePublicKey):
        algorithm = _CURVES.get(public.curve.name)
        return frozenset({algorithm}) if algorithm is not None else frozenset()
    return frozenset({"EdDSA"}) if isinstance(public, Ed25519PublicKey) else frozenset()


def _is_roca(modulus: int) -> bool:
    """Whether a key was made by a chip whose keys can be computed (CVE-2017-15361).

    The primes of such keys are powers of 65537, modulo a product of small primes. Of other keys one in 10^8 looks so.
    """
    return all(_is_power(modulus % prime, prime) for prime in _SMALL_PRIMES)


def _is_power(residue: int, prime: int) -> bool:
    power = 1
    for _ in range(prime):
        if power == residue:
            return True
        power = power * 65537 % prime
    return False
