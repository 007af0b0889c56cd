"""The gateway's own pages: `/health`, `/ready`, the `/metrics` of all processes, and the reference of the REST API."""

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
from services.mesh.call.authenticator import SOURCE, Authenticator
from services.mesh.call.principal import OPERATOR
from services.mesh.process.health import alive_body, described
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.surfaces.error_shape import REST

_PREFIXES = ("", "/api/v1")
PATHS = (*(f"{prefix}/{page}" for prefix in _PREFIXES for page in ("health", "ready", "metrics")), reference.DOCUMENT)
"""The paths of these pages; `reference.PAGES` and the paths below them come in addition."""
_SCRAPE_SECONDS = 2.0
_NO_INSTANCE = "no live instance"
# The name of a dependency on `/ready`, and the name that the services give it.
_CHECKS = {"database": "postgres", "redis": "redis", "llm": "llm"}


class Pages:
    """The gateway's own pages, made from the registry; `services` are the services that the stack must have."""

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
        """The ASGI application; Envoy sends it only requests for these paths."""
        pages = {"/health": self.health, "/ready": self.ready, "/metrics": self.metrics}
        routes = [Route(f"{prefix}{path}", page) for path, page in pages.items() for prefix in _PREFIXES]
        handlers = {404: _not_found, 405: _not_allowed, errors.Internal: _internal_error}
        return Starlette(routes=routes + reference.routes(), exception_handlers=handlers)

    async def health(self, _: Request) -> Response:
        """200: the gateway is running."""
        return JSONResponse(alive_body(self._version))

    async def ready(self, _: Request) -> Response:
        """200 if every service of the stack works completely, else 503; the body has the state of each service.

        A service that joined in addition counts while it is there. A service whose dependency is down still gets calls.
        """
        instances = self._registry.instances
        states: dict[str, list[str]] = {}
        for joined in instances:
            for service in joined.services:
                states.setdefault(service, []).append(_problem(joined, service))
        services = {
            name: _NO_INSTANCE if name not in states else min(states[name]) or "ok"
            for name in sorted(self._services | states.keys())
        }
        ready = bool(services) and all(state == "ok" for state in services.values())
        body = {
            "status": "ready" if ready else "not_ready",
            "ready": ready,
            "checks": _checks(instances, complete=_NO_INSTANCE not in services.values()),
            "services": services,
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """The metrics of every process; each sample has an `instance` label. The caller needs a credential."""
        try:
            who = await self._authenticator.authenticate(
                request.headers.get("authorization"), request.headers.get("x-api-key"), request.headers.get(SOURCE)
            )
        except errors.Unauthenticated as error:
            return _refused(401, error, {"WWW-Authenticate": "Bearer"})
        except errors.MeshError as error:
            return _refused(reasons.HTTP_STATUSES[error.code.name], error)
        # They are of all tenants together.
        if who.tenant_id != OPERATOR or not who.allows("read:metrics"):
            message = f"/metrics needs the scope read:metrics in the tenant {OPERATOR!r}"
            return _refused(403, errors.PermissionDenied(message))
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
            # The metrics of an instance that does not answer are left out; `/ready` reports it as down.
            return ""


def _problem(joined: Joined, service: str) -> str:
    """The problem of a service on an instance; empty when it works completely."""
    dependencies = {dependency: why for name, dependency, why in joined.dependencies if name == service}
    return dict(joined.faults).get(service, "") or described(dependencies)


def _checks(instances: Iterable[Joined], *, complete: bool) -> dict[str, str]:
    """The state of each dependency: `healthy`, or `unhealthy` with the reason.

    A dependency is healthy for a service if one instance of that service can reach it. If the stack is `complete` and
    no service depends on it, it is left out.
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
        why = max((min(answers) for answers in by_service.values()), default=_NO_INSTANCE)
        checks[name] = f"unhealthy: {why}" if why else "healthy"
    return checks


async def _not_found(request: Request, _: Exception) -> Response:
    return _refused(404, errors.NotFound("no such path", reason=reasons.NO_SUCH_PATH))


async def _not_allowed(request: Request, exception: Exception) -> Response:
    error = errors.Unimplemented(f"{request.url.path} takes GET", reason=reasons.METHOD_NOT_ALLOWED)
    return _refused(405, error, {"Allow": "GET, HEAD"})


async def _internal_error(_: Request, exception: Exception) -> Response:
    assert isinstance(exception, errors.Internal)
    return _refused(500, exception)


def _refused(status: int, error: errors.MeshError, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the shape of REST."""
    stated = REST.stated(status, canonical=error.code.name, reason=error.reason, message=error.message)
    return JSONResponse(stated.body, status_code=stated.status, headers=headers)
