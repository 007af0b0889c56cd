"""Tokens that pretend to be of an outside issuer, and tokens of it that are not for us."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.issuer import AUDIENCE, FakeIssuer
from tests.identity.conftest import Identity
from tests.identity.outside.conftest import why

OTHER = ec.generate_private_key(ec.SECP256R1())


def _encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else (part if isinstance(part, str) else json.dumps(part)).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _raw(issuer: FakeIssuer, header: Mapping[str, Any], payload: object = None) -> str:
    """A token with this header and payload that the issuer's Ed25519 key has signed."""
    signed = f"{_encoded(header)}.{_encoded(issuer.claims() if payload is None else payload)}"
    return f"{signed}.{_encoded(issuer.keys['eddsa'][1].sign(signed.encode()))}"


def _hs256(issuer: FakeIssuer) -> str:
    """A token whose shared secret is the issuer's public key, which everybody has."""
    pem = issuer.keys["rs256"][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{_encoded({'alg': 'HS256', 'kid': 'rs256', 'typ': 'JWT'})}.{_encoded(issuer.claims())}"
    return f"{signed}.{_encoded(hmac.digest(pem, signed.encode(), 'sha256'))}"


def _signed(issuer: FakeIssuer, key: Any = OTHER, **header: Any) -> str:
    return jwt.encode(issuer.claims(), key, "ES256", headers={"kid": "es256", **header})


def _own_jwk() -> dict[str, Any]:
    return {**jwt.algorithms.ECAlgorithm.to_jwk(OTHER.public_key(), as_dict=True), "kid": "es256"}


GOOD = {"alg": "EdDSA", "kid": "eddsa", "typ": "JWT"}
FORGED: dict[str, Callable[[FakeIssuer], str]] = {
    "no algorithm": lambda issuer: jwt.encode(issuer.claims(), "", "none", headers={"kid": "es256"}),
    "no algorithm and an old signature": lambda issuer: _raw(issuer, GOOD | {"alg": "none"}),
    "the public key as a shared secret": _hs256,
    "an algorithm that the settings do not name": lambda issuer: jwt.encode(
        issuer.claims(), issuer.keys["rs256"][1], "RS512", headers={"kid": "rs256"}
    ),
    "an algorithm for another kind of key": lambda issuer: _raw(issuer, GOOD | {"alg": "ES256"}),
    "an algorithm that is a list": lambda issuer: _raw(issuer, GOOD | {"alg": ["EdDSA"]}),
    "another key with a known id": _signed,
    "a key of its own": lambda issuer: _signed(issuer, jwk=_own_jwk()),
    "an address of its own keys": lambda issuer: _signed(issuer, jku="https://evil.example/keys"),
    "an address of a certificate": lambda issuer: _signed(issuer, x5u="https://evil.example/cert"),
    "a certificate inside": lambda issuer: _signed(issuer, x5c=["AA"]),
    "the right key, and a key of its own": lambda issuer: _raw(issuer, GOOD | {"jwk": _own_jwk()}),
    "a critical extension": lambda issuer: _raw(issuer, GOOD | {"crit": ["exp"], "exp": 1}),
    "an unencoded payload": lambda issuer: _raw(issuer, GOOD | {"b64": False}),
    "an unknown key": lambda issuer: _raw(issuer, GOOD | {"kid": "../../etc/passwd"}),
    "an id that is a number": lambda issuer: _raw(issuer, GOOD | {"kid": 1}),
    "no id, and several keys": lambda issuer: _raw(issuer, {"alg": "EdDSA"}) if _two_keys(issuer) else "",
    "a token for a logout": lambda issuer: _raw(issuer, GOOD | {"typ": "logout+jwt"}),
    "another audience": lambda issuer: issuer.token("es256", aud="elsewhere"),
    "no audience": lambda issuer: issuer.token("es256", aud=None),
    "a list of other audiences": lambda issuer: issuer.token("es256", aud=["a", AUDIENCE + "2"]),
    "an audience inside an object": lambda issuer: _raw(issuer, GOOD, issuer.claims(aud={AUDIENCE: 1})),
    "another issuer": lambda issuer: issuer.token("es256", iss="https://accounts.example"),
    "an issuer with a slash more": lambda issuer: issuer.token("es256", iss=issuer.url + "/"),
    "an issuer that is a list": lambda issuer: _raw(issuer, GOOD, issuer.claims(iss=[issuer.url])),
    "our own issuer": lambda issuer: issuer.token("es256", iss="somamesh"),
    "no subject": lambda issuer: issuer.token("es256", sub=None),
    "an empty subject": lambda issuer: issuer.token("es256", sub=""),
    "a subject that is a number": lambda issuer: _raw(issuer, GOOD, issuer.claims(sub=1)),
    "a long subject": lambda issuer: issuer.token("es256", sub="a" * 256),
    "a subject that Postgres cannot keep": lambda issuer: issuer.token("es256", sub="a\0b"),
    "no expiry": lambda issuer: issuer.token("es256", exp=None),
    "an expiry that is a text": lambda issuer: _raw(issuer, GOOD, issuer.claims(exp="9999999999")),
    "an expiry that is true": lambda issuer: _raw(issuer, GOOD, issuer.claims(exp=True)),
    "an endless expiry": lambda issuer: _raw(issuer, GOOD, issuer.claims(exp=1e300)),
    "not valid yet": lambda issuer: issuer.token("es256", nbf=int(time.time()) + 120),
    "made later": lambda issuer: issuer.token("es256", iat=int(time.time()) + 120),
    "a claim twice": lambda issuer: _raw(issuer, GOOD, json.dumps(issuer.claims())[:-1] + ', "sub": "admin"}'),
    "a header twice": lambda issuer: _twice(issuer),
    "claims that are a list": lambda issuer: _raw(issuer, GOOD, [issuer.claims()]),
    "claims that are no JSON": lambda issuer: _raw(issuer, GOOD, b"\xff"),
    "an encrypted token": lambda issuer: f"{_encoded({'alg': 'dir'})}....",
    "padding": lambda issuer: issuer.token("es256") + "==",
    "no signature": lambda issuer: issuer.token("es256").rpartition(".")[0] + ".",
    "half a signature": lambda issuer: issuer.token("es256")[:-43],
}


def _two_keys(issuer: FakeIssuer) -> bool:
    issuer.add_key("eddsa-2", "EdDSA")
    return True


def _twice(issuer: FakeIssuer) -> str:
    header = '{"alg":"none","kid":"eddsa","alg":"EdDSA"}'
    signed = f"{_encoded(header)}.{_encoded(issuer.claims())}"
    return f"{signed}.{_encoded(issuer.keys['eddsa'][1].sign(signed.encode()))}"


async def test_a_token_that_is_built_by_hand_is_accepted_when_all_of_it_is_right(
    identity: Identity, issuer: FakeIssuer
) -> None:
    """So that the refusals below have the reason that their names say."""
    assert (await identity.who(_raw(issuer, GOOD))).tenant_id == "default"
    assert await identity.who(_raw(issuer, {"alg": "EdDSA"}, issuer.claims(aud=["x", AUDIENCE])))


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_token_is_refused(identity: Identity, issuer: FakeIssuer, how: str) -> None:
    error = await why(identity, FORGED[how](issuer))
    assert error.reason in ("TOKEN_INVALID", "CREDENTIAL_INVALID")


async def test_an_expired_token_is_refused_as_expired(identity: Identity, issuer: FakeIssuer) -> None:
    assert (await why(identity, issuer.token("es256", exp=int(time.time()) - 1))).reason == "TOKEN_EXPIRED"


async def test_clocks_may_be_a_few_seconds_apart(identity: Identity, issuer: FakeIssuer) -> None:
    soon = int(time.time()) + 10
    assert await identity.who(issuer.token("es256", iat=soon, nbf=soon))
