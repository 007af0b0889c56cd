"""An outside issuer (OpenID Connect): an HTTP server with a discovery document and a key set, which makes tokens."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

AUDIENCE = "somamesh"
DISCOVERY, JWKS = "/.well-known/openid-configuration", "/keys"
_RSA = rsa.generate_private_key(65537, 2048)
_MAKERS: Mapping[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: _RSA,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class FakeIssuer:
    """An issuer on a free port of 127.0.0.1, as an async context manager.

    Attributes:
        keys: its algorithms and private keys, by key id; a test changes them.
        answers: what it answers at a path in place of its documents.
        asked: how often each path was asked for.
        url: what its tokens have as `iss`.
    """

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, Any]] = {}
        self.answers: dict[str, Callable[[], web.StreamResponse]] = {}
        self.asked: Counter[str] = Counter()
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve; after a stop, on the same port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add_key(self, key_id: str, algorithm: str = "ES256") -> None:
        """Publish another key."""
        self.keys[key_id] = algorithm, _MAKERS[algorithm]()

    @property
    def jwks(self) -> dict[str, Any]:
        """The key set."""
        return {"keys": [self.jwk(key_id) for key_id in self.keys]}

    def jwk(self, key_id: str) -> dict[str, Any]:
        """A public key as JSON."""
        algorithm, private = self.keys[key_id]
        public = get_default_algorithms()[algorithm].to_jwk(private.public_key(), as_dict=True)
        return {**public, "kid": key_id, "use": "sig", "alg": algorithm}

    def claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a token; a claim that is None is left out."""
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600} | changed
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key_id: str, header: Mapping[str, Any] | None = None, **changed: Any) -> str:
        """A token that is signed with a key."""
        algorithm, private = self.keys[key_id]
        return jwt.encode(self.claims(**changed), private, algorithm, headers={"kid": key_id, **(header or {})})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.answers:
            return self.answers[request.path]()
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": self.url + JWKS})
        if request.path == JWKS:
            return web.json_response(self.jwks)
        return web.Response(status=404)
