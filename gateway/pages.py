"""What the gateway answers for itself: `/health`, `/ready`, `/metrics` of all processes, and the reference."""

import asyncio
from collections.abc import Iterable, Mapping

import aiohttp
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from soma.errors.v1 import reasons
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import reference
from gateway.exposition import merge
from services.mesh.call import errors
from services.mesh.call.authenticator import Authenticator
from services.mesh.process.health import alive_body, described
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.surfaces.error_shape import REST

_PREFIXES = ("", "/api/v1")
PATHS = (*(f"{prefix}/{page}" for prefix in _PREFIXES for page in ("health", "ready", "metrics")), reference.DOCUMENT)
"""The paths these pages have, beside those of `reference.PAGES` and what is under them."""
_SCRAPE_SECONDS = 2.0
_NOBODY = "no live instance"
# What `/ready` calls a dependency, and what the services call it.
_CHECKS = {"database": "postgres", "redis": "redis", "llm": "llm"}


class Pages:
    """The gateway's own pages, over what the registry knows; `services` are those the stack is to have."""

    def __init__(
        self,
        registry: RegistryService,
        services: Iterable[str],
        authenticator: Authenticator,
        client: aiohttp.ClientSession,
        version: str,
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._client = client
        self._version = version
        self._services = frozenset(services)

    def app(self) -> Starlette:
        """The ASGI application; Envoy sends it these paths and no others."""
        pages = {"/health": self.health, "/ready": self.ready, "/metrics": self.metrics}
        routes = [Route(f"{prefix}{path}", page) for path, page in pages.items() for prefix in _PREFIXES]
        handlers = {404: _not_found, 405: _not_allowed, errors.Internal: _fault}
        return Starlette(routes=routes + reference.routes(), exception_handlers=handlers)

    async def health(self, _: Request) -> Response:
        """The gateway lives."""
        return JSONResponse(alive_body(self._version))

    async def ready(self, _: Request) -> Response:
        """Every service of the stack can do all it offers now; each by name, with what is wrong.

        One that joins beside them counts for as long as it is there. One that misses a part goes on taking calls.
        """
        instances = self._registry.instances
        states: dict[str, list[str]] = {}
        for joined in instances:
            for service in joined.services:
                states.setdefault(service, []).append(_wrong(joined, service))
        services = {
            name: _NOBODY if name not in states else min(states[name]) or "ok"
            for name in sorted(self._services | states.keys())
        }
        ready = bool(services) and all(state == "ok" for state in services.values())
        body = {
            "status": "ready" if ready else "not_ready",
            "ready": ready,
            "checks": _checks(instances, complete=_NOBODY not in services.values()),
            "services": services,
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Metrics of every process, each sample with its `instance`; needs a credential."""
        try:
            await self._authenticator.authenticate(
                request.headers.get("authorization"), request.headers.get("x-api-key")
            )
        except errors.Unauthenticated as error:
            return _refused(401, error, {"WWW-Authenticate": "Bearer"})
        addresses = [joined.admin_address for joined in self._registry.instances if joined.admin_address]
        texts = await asyncio.gather(*map(self._scrape, addresses))
        expositions = {"control": generate_latest(REGISTRY).decode()}
        expositions |= {address: text for address, text in zip(addresses, texts, strict=True) if text}
        return Response(merge(expositions), media_type=CONTENT_TYPE_LATEST)

    async def _scrape(self, address: str) -> str:
        try:
            async with self._client.get(
                f"http://{address}/metrics", timeout=aiohttp.ClientTimeout(total=_SCRAPE_SECONDS)
            ) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            # An instance that cannot be scraped is missing from the page, and named as down by `/ready`.
            return ""


def _wrong(joined: Joined, service: str) -> str:
    """What an instance cannot do of a service, and why; empty when it can do all."""
    dependencies = {dependency: why for name, dependency, why in joined.dependencies if name == service}
    return dict(joined.faults).get(service, "") or described(dependencies)


def _checks(instances: Iterable[Joined], *, complete: bool) -> dict[str, str]:
    """What the services depend on, `healthy` or what is wrong; without what none of a complete stack depends on.

    A service that can reach it from one of its instances can reach it.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for joined in instances:
        for service, dependency, why in joined.dependencies:
            found.setdefault(dependency, {}).setdefault(service, []).append(why)
    checks: dict[str, str] = {}
    for name, dependency in _CHECKS.items():
        by_service = found.get(dependency, {})
        if not by_service and complete:
            continue
        why = max((min(answers) for answers in by_service.values()), default=_NOBODY)
        checks[name] = f"unhealthy: {why}" if why else "healthy"
    return checks


async def _not_found(request: Request, _: Exception) -> Response:
    return _refused(404, errors.NotFound("no such path", reason=reasons.NO_SUCH_PATH))


async def _not_allowed(request: Request, exception: Exception) -> Response:
    error = errors.Unimplemented(f"{request.url.path} takes GET", reason=reasons.METHOD_NOT_ALLOWED)
    return _refused(405, error, {"Allow": "GET, HEAD"})


async def _fault(_: Request, exception: Exception) -> Response:
    assert isinstance(exception, errors.Internal)
    return _refused(500, exception)


def _refused(status: int, error: errors.MeshError, headers: Mapping[str, str] | None = None) -> Response:
    """The one shape of errors on REST."""
    stated = REST.stated(status, canonical=error.code.name, reason=error.reason, message=error.message)
    return JSONResponse(stated.body, status_code=stated.status, headers=headers)
