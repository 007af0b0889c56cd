"""Which surfaces the gateway serves: judges what instances announce, and remembers what it accepted.

A surface is refused by itself when something else has one of its paths, when it is not as it has to be, or when there
are too many; the instance is told, and everything else of it is served. One that was accepted is served until its
service is there without it, or has been away for a day: until then its paths say that the service is away, also after
the control process was restarted.

While instances announce a surface differently, as during an upgrade, the gateway serves all the paths that any of them
has, and what else the surface says is as the last of them to join says it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import structlog
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from soma.errors.v1 import reasons
from soma.mesh.v1 import surface_pb2 as pb

from gateway import pages, reference
from gateway.contracts import descriptor_set, public_services
from gateway.xds.bindings import bindings
from services.mesh.call import errors
from services.mesh.process.registry.leases import Joined
from services.mesh.surfaces.surface import prefixes, require_valid, templates
from services.mesh.surfaces.template import Template, template

log = structlog.get_logger("gateway")

MOST = 32
"""How many surfaces the gateway serves."""
AWAY_SECONDS = 24 * 3600.0
"""How long the paths of a surface whose service is away are answered with 503; afterwards they are not found."""

# Envoy's clusters of these names are the gateway's.
_NOT_SERVICES = frozenset({"control-http", "control-grpc", "nobody"})

_Key = tuple[str, str]


@dataclass
class _Served:
    """A surface that is served: as each instance announces it, in their order, and as it was announced last.

    `since` is when the last of the instances left, or the surface was read from the file.
    """

    last: pb.Surface
    since: float
    live: dict[str, pb.Surface] = field(default_factory=dict)

    @property
    def merged(self) -> pb.Surface:
        """All of the paths, and the rest as the last instance says it."""
        merged = pb.Surface()
        merged.CopyFrom(self.last)
        for name in ("paths", "sockets", "streams"):
            given = [text for each in (*self.live.values(), self.last) for text in getattr(each, name)]
            del getattr(merged, name)[:]
            getattr(merged, name).extend(dict.fromkeys(given))
        return merged


class Surfaces:
    """The surfaces of all instances; `contracts` are the templates of the contracts' paths.

    `file` keeps what was accepted. Times are any clock's seconds.
    """

    def __init__(self, contracts: Iterable[str], grpc: Iterable[str], file: Path, now: float) -> None:
        """Read the file, without what cannot be served any more.

        Args:
            grpc: what the names of proto services begin with, such as `soma`.
        """
        self._reserved = [(template(text), "the gateway's own") for text in _pages()]
        self._reserved += [(template(f"/{name}.{{rest=**}}"), "a path of gRPC") for name in grpc]
        self._reserved += [(template(text), f"the contract's {text}") for text in contracts]
        self._file = file
        self._served: dict[_Key, _Served] = {}
        self._refused: dict[str, dict[_Key, pb.SurfaceRefusal]] = {}
        for surface in _read(file):
            try:
                self._judge(surface)
            except errors.MeshError as error:
                log.warning("surface forgotten", surface=_shown(surface), reason=error.reason, why=error.message)
            else:
                self._served[_key(surface)] = _Served(surface, now)
        self._saved = self.all

    @property
    def all(self) -> tuple[pb.Surface, ...]:
        """Those that are served, the longest known first."""
        return tuple(served.merged for served in self._served.values())

    def instances(self, service: str) -> frozenset[str]:
        """The ids of the instances that serve some surface of a service."""
        return frozenset(
            instance for key, served in self._served.items() if key[0] == service for instance in served.live
        )

    @property
    def refused(self) -> Mapping[str, Sequence[pb.SurfaceRefusal]]:
        """Those that are not, by the id of the instance that announces them."""
        return {instance: tuple(refusals.values()) for instance, refusals in self._refused.items() if refusals}

    def consider(self, instances: Sequence[Joined], now: float) -> None:
        """Take notice of who is here: judge those that are new, let go of those that left."""
        here = {joined.instance_id for joined in instances}
        less = False
        for served in self._served.values():
            left = served.live.keys() - here
            for instance in left:
                del served.live[instance]
                less = True
            if served.live:
                served.last = [*served.live.values()][-1]
            elif left:
                served.since = now
        self._refused = {instance: refused for instance, refused in self._refused.items() if instance in here}
        for joined in instances:
            if joined.instance_id not in self._refused:
                self._refused[joined.instance_id] = {}
                self._hear(joined)
        if self._forget(instances, now) or less:
            # What is gone may be what others were refused for.
            for joined in instances:
                if self._refused[joined.instance_id]:
                    self._hear(joined)
        self._save()

    def _hear(self, joined: Joined) -> None:
        """Judge what an instance announces, but for what it has been accepted with."""
        refused = self._refused[joined.instance_id]
        for key, surface in {_key(surface): surface for surface in joined.surfaces}.items():
            known = self._served.get(key)
            if known is not None and joined.instance_id in known.live:
                continue
            try:
                _require_once(surface, joined)
                self._judge(surface)
            except errors.MeshError as error:
                if key not in refused:
                    log.warning("surface refused", surface=_shown(surface), reason=error.reason, why=error.message)
                refused[key] = pb.SurfaceRefusal(
                    service=surface.service, name=surface.name, reason=error.reason, message=error.message
                )
                continue
            refused.pop(key, None)
            served = self._served.setdefault(key, _Served(surface, 0.0))
            if served.last != surface or not served.live:
                log.info("surface served", surface=_shown(surface), paths=len(surface.paths))
            served.last = surface
            served.live[joined.instance_id] = surface

    def _forget(self, instances: Sequence[Joined], now: float) -> bool:
        """Forget what its service does without, and whose service has been away for long; whether anything was."""
        present = {service for joined in instances for service in joined.services}
        gone = {
            key: "its service has it no more" if key[0] in present else "its service has been away for long"
            for key, served in self._served.items()
            if not served.live and (key[0] in present or now - served.since > AWAY_SECONDS)
        }
        for key, why in gone.items():
            log.info("surface forgotten", surface="/".join(key), why=why)
            del self._served[key]
        return bool(gone)

    def _judge(self, surface: pb.Surface) -> None:
        """Refuse a surface that cannot be served beside all others.

        Raises:
            InvalidArgument: SURFACE_INVALID.
            ResourceExhausted: SURFACES_FULL.
            AlreadyExists: SURFACE_TAKEN.
        """
        try:
            require_valid(surface)
        except ValueError as error:
            raise errors.InvalidArgument(str(error), reason=reasons.SURFACE_INVALID) from error
        if surface.service in _NOT_SERVICES:
            raise errors.InvalidArgument(f"no service is called {surface.service}", reason=reasons.SURFACE_INVALID)
        key = _key(surface)
        if key not in self._served and len(self._served) >= MOST:
            raise errors.ResourceExhausted(
                f"the gateway serves {MOST} surfaces already, which is as many as it takes",
                reason=reasons.SURFACES_FULL,
            )
        for mine in templates(surface):
            for taken, whose in self._taken(surface.service):
                if mine.shares(taken):
                    raise errors.AlreadyExists(f"{mine.text} is {whose}", reason=reasons.SURFACE_TAKEN)
        for prefix in prefixes(surface):
            for other, served in self._served.items():
                if other != key and prefix in prefixes(served.merged):
                    raise errors.AlreadyExists(
                        f"the space {prefix} is that of {'/'.join(other)}", reason=reasons.SURFACE_TAKEN
                    )

    def _taken(self, service: str) -> Iterator[tuple[Template, str]]:
        """Paths a service cannot have, and whose they are."""
        yield from self._reserved
        for key, served in self._served.items():
            if key[0] != service:
                for each in templates(served.merged):
                    yield each, f"{each.text} of {'/'.join(key)}"

    def _save(self) -> None:
        serving = self.all
        if serving == self._saved:
            return
        written = {"surfaces": [MessageToDict(surface, preserving_proto_field_name=True) for surface in serving]}
        fresh = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(written, indent=1))
            fresh.replace(self._file)
        except OSError as error:
            # Tried again with the next change; all that is lost is the memory of a restart.
            log.error("surfaces not kept", file=str(self._file), error=str(error))
            return
        self._saved = serving


def beside_contracts(file: Path) -> Surfaces:
    """The surfaces known from before, beside every contract there is."""
    packages = {service.partition(".")[0] for service in public_services()}
    contracts = [binding.template for binding in bindings(descriptor_set())]
    return Surfaces(contracts, sorted({"grpc", *packages}), file, monotonic())


def _pages() -> Iterator[str]:
    yield from pages.PATHS
    for page in reference.PAGES:
        yield from (page, f"{page}/{{rest=**}}")


def _require_once(surface: pb.Surface, joined: Joined) -> None:
    """Refuse a surface that an instance announces twice, or for a service that it does not serve over HTTP."""
    if [_key(each) for each in joined.surfaces].count(_key(surface)) > 1:
        raise errors.InvalidArgument(
            f"the instance announces {_shown(surface)} more than once", reason=reasons.SURFACE_INVALID
        )
    if surface.service not in joined.services or not joined.http_addresses.get(surface.service):
        message = f"the instance serves no {surface.service}, or announces no address of its HTTP server"
        raise errors.InvalidArgument(message, reason=reasons.SURFACE_INVALID)


def _read(file: Path) -> list[pb.Surface]:
    """What the file keeps; nothing when it is missing or is no such file, so that instances announce it anew."""
    try:
        kept = json.loads(file.read_text())["surfaces"]
        return [ParseDict(surface, pb.Surface()) for surface in kept]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, ParseError) as error:
        log.error("surfaces not known from before", file=str(file), error=str(error))
        return []


def _key(surface: pb.Surface) -> _Key:
    return surface.service, surface.name


def _shown(surface: pb.Surface) -> str:
    return f"{surface.service}/{surface.name}"
