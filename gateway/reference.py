"""The reference of the REST API: its OpenAPI document, and the pages that show it, Swagger UI and Redoc."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog
from soma.errors.v1 import reasons
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.mesh.call.errors import Internal

log = structlog.get_logger("gateway")

_ROOT = Path(__file__).parents[1]
_SITE = Path(__file__).with_name("site")
_SWAGGER_UI = _ROOT / "third_party" / "swagger-ui"
_REDOC = _ROOT / "third_party" / "redoc"

PAGES = ("/docs", "/redoc")
"""Each is a page, and the prefix of the files that the page loads."""
DOCUMENT = "/openapi.json"

_FILES: Mapping[str, Path] = {
    DOCUMENT: _ROOT / "gen" / "openapi.json",
    "/docs": _SITE / "docs.html",
    "/docs/page.js": _SITE / "docs.js",
    "/docs/swagger-ui.css": _SWAGGER_UI / "swagger-ui.css",
    "/docs/swagger-ui-bundle.js": _SWAGGER_UI / "swagger-ui-bundle.js",
    "/redoc": _SITE / "redoc.html",
    "/redoc/page.css": _SITE / "redoc.css",
    "/redoc/page.js": _SITE / "redoc.js",
    "/redoc/redoc.standalone.js": _REDOC / "redoc.standalone.js",
}
_MEDIA_TYPES = {".json": "application/json", ".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# Hashes of two style elements of Redoc: the rules of its scroll bars, and an empty one to which it adds rules later.
_REDOC_STYLES = (
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc=' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
)
# The policy lets the page send the user's key only to this gateway, even if a script in the page is hostile.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": f"'self' {_REDOC_STYLES}",
    "img-src": "'self' data:",
    # The page sends its calls to the gateway that it came from.
    "connect-src": "'self'",
    # Redoc searches in a worker, which it starts from a blob with its own code.
    "worker-src": "blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # A browser asks each time whether its copy is current, because another version of the gateway has other files.
    "cache-control": "no-cache",
}


def routes() -> list[Route]:
    """The routes of the document, of the pages, and of the files that they load."""
    pages = [Route(path, _send) for path in _FILES]
    return pages + [Route(f"{page}/", _without_slash) for page in PAGES]


async def _send(request: Request) -> Response:
    file = _FILES[request.url.path]
    try:
        stat, content = file.stat(), await asyncio.to_thread(file.read_bytes)
    except OSError as error:
        log.error("file of the reference unreadable", file=str(file), error=str(error))
        message = f"the server's installation has no readable {file.name}: install it again, or see the gateway's log"
        raise Internal(message, reason=reasons.FILE_UNREADABLE) from error
    # A weak tag, because Envoy removes a strong tag when it compresses the file.
    tag = f'W/"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = {**_HEADERS, "etag": tag}
    if tag in [known.strip() for known in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_MEDIA_TYPES[file.suffix], headers=headers)


async def _without_slash(request: Request) -> Response:
    # A relative address, because this process does not know the scheme and host that the client used.
    return RedirectResponse(request.url.path.removesuffix("/"), status_code=308)
