"""Project Wycheproof's vectors for signed tokens, run against the checks of outside tokens and of our own."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.identity import jws
from services.identity.access_token import AccessTokens
from services.identity.outside import token
from services.identity.outside.issuer_keys import IssuerKeys
from services.identity.outside.settings import Issuer
from services.identity.own_token import invalid
from services.identity.signing_keys import KeyWrap
from services.mesh.call import errors

FOLDER = Path(__file__).parent / "wycheproof"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OWN = KeyWrap(b"k" * 32).open(KeyWrap(b"k" * 32).make(NOW - timedelta(days=1)))
ISSUER = Issuer(
    url="https://issuer.example",
    audience="somamesh",
    algorithms=("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
    jwks_url="https://issuer.example/keys",
    tenant="acme",
)
# What only a private or a shared key has.
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi"})
# Valid for Wycheproof, and refused here: the key says that it is for another algorithm, or for one that does not exist.
_OTHER_ALGORITHM = {"signature-346-Figure20", "signature-350-Figure20"}
_NO_ALGORITHM = "ES521"
# Valid for Wycheproof, and refused here: base64 with a character that it does not have.
_NO_BASE64 = {"signature-372-InvalidCharacterInsertedInHeader", "signature-373-InvalidCharacterInsertedInPayload"}
# Invalid by their names, but these tokens have no padding: they are the same as the valid one of their group.
_NO_PADDING = {"signature-367-invalidBase64Padding", "signature-370-invalidBase64PaddingInPayload"}


@dataclass(frozen=True)
class Vector:
    """A token, the keys of its issuer, and whether it is to be accepted."""

    name: str
    token: str
    keys: list[dict[str, Any]]
    valid: bool


def _vectors() -> Iterator[Vector]:
    for path in sorted(FOLDER.glob("*.json")):
        for group in json.loads(path.read_text())["testGroups"]:
            given = group.get("public") or group["private"]
            keys = given.get("keys", [given])
            for test in group["tests"]:
                # The others are encrypted, or in the JSON form, which nobody here reads.
                if isinstance(test.get("jws"), str):
                    name = f"{path.stem.split('_')[2]}-{test['tcId']}-{test['comment']}"
                    yield Vector(name, test["jws"], keys, test["result"] == "valid")


VECTORS = list(_vectors())


def _published(keys: list[dict[str, Any]]) -> dict[str, Any]:
    """The keys as their issuer publishes them."""
    return {"keys": [{name: value for name, value in key.items() if name not in _SECRET} for key in keys]}


async def _accepted(vector: Vector, keys: Mapping[str, Any]) -> bool:
    async def read(url: str, *, private: bool) -> object:
        return keys

    try:
        await token.check_signature(jws.read(vector.token), ISSUER, IssuerKeys("x", ISSUER, read, lambda: 0.0))
    except (jws.Malformed, errors.Unauthenticated):
        return False
    return True


def test_the_vectors_are_there() -> None:
    assert (len(VECTORS), sum(vector.valid for vector in VECTORS)) == (475, 55)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_a_token_is_accepted_only_if_its_signature_and_its_key_are_good(vector: Vector) -> None:
    symmetric = any(key["kty"] == "oct" for key in vector.keys)
    other = vector.name in _OTHER_ALGORITHM or any(key.get("alg") == _NO_ALGORITHM for key in vector.keys)
    assert await _accepted(vector, _published(vector.keys)) == (vector.valid and not symmetric and not other)


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.valid], ids=lambda vector: vector.name)
async def test_a_key_that_should_have_stayed_private_is_not_used(vector: Vector) -> None:
    keys = [{**key, "d": "AQAB"} for key in vector.keys]
    assert not await _accepted(vector, {"keys": keys})


@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS if [key.get("alg") for key in each.keys] == ["HS256"]],
    ids=lambda vector: vector.name,
)
def test_the_form_of_a_token_is_read_strictly(vector: Vector) -> None:
    """Shared secrets are no keys of an issuer; their vectors for base64 are of use all the same."""
    secret = vector.keys[0].get("k", "")
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    try:
        read = jws.read(vector.token)
        accepted = len(key) >= 32 and read.header["alg"] == "HS256" and read.is_signed("HS256", key)
    except jws.Malformed:
        accepted = False
    assert accepted == ((vector.valid and vector.name not in _NO_BASE64) or vector.name in _NO_PADDING)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_none_of_them_is_a_token_of_ours(vector: Vector) -> None:
    with pytest.raises(errors.Unauthenticated) as refused:
        AccessTokens(lambda: [OWN], timedelta(hours=1)).read(vector.token, NOW)
    assert refused.value.reason == invalid("").reason
