"""Access tokens: only one that our key signed, for us, and that is valid now, is read."""

import base64
import json
import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.identity.access_token import KIND, AccessTokens
from services.identity.own_token import ISSUER
from services.identity.signing_keys import KeyWrap, SigningKey
from services.mesh.call import errors

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = KeyWrap(b"k" * 32).open(KeyWrap(b"k" * 32).make(NOW - timedelta(days=1)))
USER, SESSION = uuid4(), uuid4()
TOKENS = AccessTokens(lambda: [KEY], timedelta(hours=24))
RSA = rsa.generate_private_key(65537, 2048)
OTHER = Ed25519PrivateKey.generate()


def _claims(**changed: Any) -> dict[str, Any]:
    claims = {
        "iss": ISSUER,
        "aud": KIND.audience,
        "sub": str(USER),
        "tenant_id": "acme",
        "sid": str(SESSION),
        "iat": NOW,
        "exp": NOW + timedelta(hours=1),
        "jti": "1",
    } | changed
    return {name: value for name, value in claims.items() if value is not None}


def _signed(claims: dict[str, Any], key: Any = KEY.private, algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers={"kid": KEY.key_id, "typ": "at+jwt"} | header)


def _raw(header: str, claims: dict[str, Any], begin: str = "{") -> str:
    """A token with this header, rightly signed; `begin` is how the JSON of its claims begins."""
    given = {**claims, "iat": claims["iat"].timestamp(), "exp": claims["exp"].timestamp()}
    return _parts(header.encode(), (begin + json.dumps(given)[1:]).encode())


def _parts(header: bytes, payload: bytes) -> str:
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)]
    signature = KEY.private.sign(b".".join(parts))
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


HEADER = json.dumps({"alg": "EdDSA", "kid": KEY.key_id, "typ": "at+jwt"})


def _other_form(token: str) -> str:
    """The same bytes in base64 whose last character has other bits that belong to no byte."""
    signed, _, signature = token.rpartition(".")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet[alphabet.index(signature[-1]) ^ 1]
    other = signature[:-1] + last
    assert base64.urlsafe_b64decode(other + "==") == base64.urlsafe_b64decode(signature + "==")
    return f"{signed}.{other}"


def test_a_token_of_ours_reads_back() -> None:
    claims = TOKENS.read(TOKENS.write("acme", USER, SESSION, NOW), NOW)
    assert (claims.tenant_id, claims.user_id, claims.session_id) == ("acme", USER, SESSION)
    assert claims.expire_time == NOW + timedelta(hours=24)


def test_a_token_that_is_built_by_hand_reads_when_all_of_it_is_right() -> None:
    """So that the refusals below have the reason that their names say."""
    header = json.dumps({"alg": "EdDSA", "kid": KEY.key_id, "typ": "at+jwt"})
    assert TOKENS.read(_raw(header, _claims()), NOW).user_id == USER


FORGED: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: jwt.encode(_claims(), "", "none", headers={"kid": KEY.key_id}),
    "no algorithm in other letters": lambda: _raw(json.dumps({"alg": "nOnE", "kid": KEY.key_id}), _claims()),
    "the public key as a shared secret": lambda: jwt.encode(
        _claims(), KEY.public.public_bytes_raw(), "HS256", headers={"kid": KEY.key_id}
    ),
    "an RSA key": lambda: _signed(_claims(), RSA, "RS256"),
    "another key with our id": lambda: _signed(_claims(), OTHER),
    "an unknown key": lambda: _signed(_claims(), OTHER, kid="unknown"),
    "an id of a key that is a path": lambda: _signed(_claims(), kid="../../dev/null"),
    "no id of a key": lambda: _raw(json.dumps({"alg": "EdDSA"}), _claims()),
    "an id of a key that is no text": lambda: _raw(json.dumps({"alg": "EdDSA", "kid": [KEY.key_id]}), _claims()),
    "a key inside": lambda: _signed(_claims(), OTHER, jwk={"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
    "an address of keys": lambda: _signed(_claims(), jku="https://evil.example/jwks.json"),
    "a certificate inside": lambda: _signed(_claims(), x5c=["AA"]),
    "a critical header": lambda: _signed(_claims(), crit=["exp"]),
    "a header twice": lambda: _raw(f'{{"alg":"none","alg":"EdDSA","kid":"{KEY.key_id}"}}', _claims()),
    "a claim twice": lambda: _raw(HEADER, _claims(), '{"sub":"' + str(USER) + '",'),
    "a claim twice inside another": lambda: _raw(HEADER, _claims(), '{"x":{"a":1,"a":2},'),
    "a number that JSON does not have": lambda: _raw(HEADER, _claims(), '{"x":NaN,'),
    "text that is not UTF-8": lambda: _parts(HEADER.encode(), b'{"x":"\xff"}'),
    "padding": lambda: TOKENS.write("acme", USER, SESSION, NOW) + "=",
    "a line end": lambda: TOKENS.write("acme", USER, SESSION, NOW) + "\n",
    "other letters of base64": lambda: _other_form(_signed(_claims())),
    "a header that is a list": lambda: _raw('["EdDSA"]', _claims()),
    "another kind of token": lambda: _signed(_claims(), typ="delegated+jwt"),
    "another audience": lambda: _signed(_claims(aud="elsewhere")),
    "another issuer": lambda: _signed(_claims(iss="https://accounts.example")),
    "no audience": lambda: _signed(_claims(aud=None)),
    "no expiry": lambda: _signed(_claims(exp=None)),
    "no session": lambda: _signed(_claims(sid=None)),
    "a user that is no id": lambda: _signed(_claims(sub="admin' OR 1=1 --")),
    "a tenant that is no text": lambda: _signed(_claims(tenant_id=["acme"])),
    "an endless expiry": lambda: _signed(_claims(exp=1e300)),
    "another signature": lambda: TOKENS.write("acme", USER, SESSION, NOW)[:-8] + "AAAAAAAA",
    "no signature": lambda: TOKENS.write("acme", USER, SESSION, NOW).rpartition(".")[0] + ".",
    "two parts": lambda: "a.b",
    "four parts": lambda: TOKENS.write("acme", USER, SESSION, NOW) + ".x",
    "nothing": lambda: "..",
    "a huge one": lambda: "A" * 10_000 + "..",
    "deep JSON": lambda: base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + ".e30.AA",
    "no base64": lambda: "ü.e30.AA",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_token_is_refused(how: str) -> None:
    with pytest.raises(errors.Unauthenticated) as refused:
        TOKENS.read(FORGED[how](), NOW)
    assert refused.value.reason == "TOKEN_INVALID"


def test_a_token_is_refused_from_its_expiry_on() -> None:
    token = TOKENS.write("acme", USER, SESSION, NOW)
    assert TOKENS.read(token, NOW + timedelta(hours=23, minutes=59))
    with pytest.raises(errors.Unauthenticated) as refused:
        TOKENS.read(token, NOW + timedelta(hours=24))
    assert refused.value.reason == "TOKEN_EXPIRED"


def test_a_token_of_a_retired_key_is_refused() -> None:
    retired = SigningKey(KEY.key_id, KEY.public, KEY.private, KEY.sign_time, NOW - timedelta(seconds=1))
    with pytest.raises(errors.Unauthenticated):
        AccessTokens(lambda: [retired], timedelta(hours=24)).read(_signed(_claims()), NOW)


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_token_with_one_changed_character_is_refused(place: int) -> None:
    token = TOKENS.write("acme", UUID(int=1), UUID(int=2), NOW)
    at = place % (len(token) - 1)
    changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    with pytest.raises(errors.Unauthenticated):
        TOKENS.read(changed, NOW)
