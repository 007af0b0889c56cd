"""Which surfaces the gateway serves: it checks the surfaces that instances announce, and remembers those it accepted.

The gateway refuses a surface if one of its paths is taken, if it is not valid, or if there are too many surfaces. The
instance is told the reason, and its other surfaces and its RPCs are served.

An accepted surface is forgotten when its service runs without it, or when its service has been away for a day. Until
then its paths are answered with 503 while the service is away, also after a restart of the control process.

During an upgrade the instances of a service may announce a surface differently. The gateway then serves the paths of
all of them, and takes everything else from the instance that joined last.
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

MAX_SURFACES = 32
"""The most surfaces that the gateway serves."""
AWAY_SECONDS = 24 * 3600.0
"""How long the paths of a surface are answered with 503 while its service is away; afterwards they are not found."""

# The gateway's own clusters; a service with such a name would have a cluster of the same name.
_RESERVED_NAMES = frozenset({"control-http", "control-grpc", "nobody"})

_Key = tuple[str, str]


@dataclass
class _Served:
    """A surface that is served.

    Attributes:
        last: the surface as the last instance announced it.
        since: when the last instance left, or when the surface was read from the file.
        live: the surface as each live instance announces it, in the order in which they joined.
    """

    last: pb.Surface
    since: float
    live: dict[str, pb.Surface] = field(default_factory=dict)

    @property
    def merged(self) -> pb.Surface:
        """The paths of all instances; everything else as the last instance announces it."""
        merged = pb.Surface()
        merged.CopyFrom(self.last)
        for name in ("paths", "sockets", "streams"):
            given = [text for each in (*self.live.values(), self.last) for text in getattr(each, name)]
            del getattr(merged, name)[:]
            getattr(merged, name).extend(dict.fromkeys(given))
        return merged


class Surfaces:
    """The surfaces of all instances.

    `contracts` are the path templates of the contracts, and `file` stores the accepted surfaces. Times are seconds of a
    clock that only runs forward.
    """

    def __init__(self, contracts: Iterable[str], grpc: Iterable[str], file: Path, now: float) -> None:
        """Read the file, and leave out surfaces that cannot be served any more.

        Args:
            grpc: the first words of the names of proto services, such as `soma`.
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
                log.warning("surface forgotten", surface=_label(surface), reason=error.reason, why=error.message)
            else:
                self._served[_key(surface)] = _Served(surface, now)
        self._saved = self.all

    @property
    def all(self) -> tuple[pb.Surface, ...]:
        """The served surfaces, in the order in which they were accepted."""
        return tuple(served.merged for served in self._served.values())

    def instances(self, service: str) -> frozenset[str]:
        """The ids of the instances with a served surface of a service."""
        return frozenset(
            instance for key, served in self._served.items() if key[0] == service for instance in served.live
        )

    @property
    def refused(self) -> Mapping[str, Sequence[pb.SurfaceRefusal]]:
        """The refused surfaces, by the id of the instance that announces them."""
        return {instance: tuple(refusals.values()) for instance, refusals in self._refused.items() if refusals}

    def update(self, instances: Sequence[Joined], now: float) -> None:
        """Check the surfaces of instances that joined, and remove instances that left; `instances` are live now."""
        here = {joined.instance_id for joined in instances}
        any_left = False
        for served in self._served.values():
            left = served.live.keys() - here
            for instance in left:
                del served.live[instance]
                any_left = True
            if served.live:
                served.last = [*served.live.values()][-1]
            elif left:
                served.since = now
        self._refused = {instance: refused for instance, refused in self._refused.items() if instance in here}
        for joined in instances:
            if joined.instance_id not in self._refused:
                self._refused[joined.instance_id] = {}
                self._judge_announced(joined)
        if self._forget(instances, now) or any_left:
            # Refused surfaces may be possible now: what was in their way may be gone.
            for joined in instances:
                if self._refused[joined.instance_id]:
                    self._judge_announced(joined)
        self._save()

    def _judge_announced(self, joined: Joined) -> None:
        """Check the surfaces that an instance announces, except those that are served already."""
        refused = self._refused[joined.instance_id]
        for key, surface in {_key(surface): surface for surface in joined.surfaces}.items():
            known = self._served.get(key)
            if known is not None and joined.instance_id in known.live:
                continue
            try:
                _require_servable(surface, joined)
                self._judge(surface)
            except errors.MeshError as error:
                if key not in refused:
                    log.warning("surface refused", surface=_label(surface), reason=error.reason, why=error.message)
                refused[key] = pb.SurfaceRefusal(
                    service=surface.service, name=surface.name, reason=error.reason, message=error.message
                )
                continue
            refused.pop(key, None)
            served = self._served.setdefault(key, _Served(surface, 0.0))
            if served.last != surface or not served.live:
                log.info("surface served", surface=_label(surface), paths=len(surface.paths))
            served.last = surface
            served.live[joined.instance_id] = surface

    def _forget(self, instances: Sequence[Joined], now: float) -> bool:
        """Forget surfaces whose service runs without them, or has been away for long; whether there were any."""
        present = {service for joined in instances for service in joined.services}
        gone = {
            key: "its service no longer has it" if key[0] in present else "its service has been away too long"
            for key, served in self._served.items()
            if not served.live and (key[0] in present or now - served.since > AWAY_SECONDS)
        }
        for key, why in gone.items():
            log.info("surface forgotten", surface="/".join(key), why=why)
            del self._served[key]
        return bool(gone)

    def _judge(self, surface: pb.Surface) -> None:
        """Refuse a surface that cannot be served together with the others.

        Raises:
            InvalidArgument: SURFACE_INVALID.
            ResourceExhausted: SURFACES_FULL.
            AlreadyExists: SURFACE_TAKEN.
        """
        try:
            require_valid(surface)
        except ValueError as error:
            raise errors.InvalidArgument(str(error), reason=reasons.SURFACE_INVALID) from error
        if surface.service in _RESERVED_NAMES:
            raise errors.InvalidArgument(f"no service is called {surface.service}", reason=reasons.SURFACE_INVALID)
        key = _key(surface)
        if key not in self._served and len(self._served) >= MAX_SURFACES:
            raise errors.ResourceExhausted(
                f"the gateway serves {MAX_SURFACES} surfaces already, which is as many as it takes",
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
        """The paths that a service cannot have, each with a text that says who has it."""
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
            # The next change tries again. Until then the surfaces are lost only if this process restarts.
            log.error("surfaces not saved", file=str(self._file), error=str(error))
            return
        self._saved = serving


def load_surfaces(file: Path) -> Surfaces:
    """The surfaces stored in the file, together with the paths of every contract."""
    packages = {service.partition(".")[0] for service in public_services()}
    contracts = [binding.template for binding in bindings(descriptor_set())]
    return Surfaces(contracts, sorted({"grpc", *packages}), file, monotonic())


def _pages() -> Iterator[str]:
    yield from pages.PATHS
    for page in reference.PAGES:
        yield from (page, f"{page}/{{rest=**}}")


def _require_servable(surface: pb.Surface, joined: Joined) -> None:
    """Refuse a surface that is announced twice, or whose service the instance does not serve over HTTP."""
    if [_key(each) for each in joined.surfaces].count(_key(surface)) > 1:
        raise errors.InvalidArgument(
            f"the instance announces {_label(surface)} more than once", reason=reasons.SURFACE_INVALID
        )
    if surface.service not in joined.services or not joined.http_addresses.get(surface.service):
        message = f"the instance serves no {surface.service}, or announces no address of its HTTP server"
        raise errors.InvalidArgument(message, reason=reasons.SURFACE_INVALID)


def _read(file: Path) -> list[pb.Surface]:
    """The surfaces in the file; none if it is missing or damaged, because instances announce them again."""
    try:
        kept = json.loads(file.read_text())["surfaces"]
        return [ParseDict(surface, pb.Surface()) for surface in kept]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, ParseError) as error:
        log.error("file of surfaces unreadable", file=str(file), error=str(error))
        return []


def _key(surface: pb.Surface) -> _Key:
    return surface.service, surface.name


def _label(surface: pb.Surface) -> str:
    return f"{surface.service}/{surface.name}"
