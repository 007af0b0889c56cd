"""One RPC as its descriptor states it: names, streaming, and who may call it."""

from dataclasses import dataclass
from enum import Enum
from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from soma.authz.v1 import authz_pb2

from services.mesh.call.principal import covering


class Access(Enum):
    """Who may call a method, by its rule."""

    SCOPE = "scope"
    OPEN = "open"
    INTERNAL = "internal"
    AUTHENTICATED = "authenticated"


# Services of gRPC itself, which everybody may call; their contracts have no rules.
_OPEN_PACKAGES = ("grpc.health.", "grpc.reflection.")


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A method of a proto service.

    `path` is what gRPC calls it by, `/package.Service/Method`; `service` and `name` are its parts.
    `grants` are the scopes of which a principal needs one when access is SCOPE.
    """

    path: str
    service: str
    name: str
    access: Access
    grants: frozenset[str]
    scope: str
    client_streaming: bool
    server_streaming: bool
    response: Descriptor | None


@cache
def method(path: str) -> Method:
    """Look a method up by its path.

    Raises:
        LookupError: no linked contract has it, or it has no `soma.authz.v1.rule`.
    """
    _, service, name = path.split("/")
    try:
        descriptor: MethodDescriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    except KeyError:
        raise LookupError(f"no contract defines {path}") from None
    access, scope = _access(descriptor)
    return Method(
        path=path,
        service=service,
        name=name,
        access=access,
        grants=covering(scope) if scope else frozenset(),
        scope=scope,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
        response=descriptor.output_type,
    )


def _access(descriptor: MethodDescriptor) -> tuple[Access, str]:
    if descriptor.containing_service.full_name.startswith(_OPEN_PACKAGES):
        return Access.OPEN, ""
    rule = descriptor.GetOptions().Extensions[authz_pb2.rule]
    match rule.WhichOneof("access"):
        case "scope":
            return Access.SCOPE, rule.scope
        case "open":
            return Access.OPEN, ""
        case "internal":
            return Access.INTERNAL, ""
        case "authenticated":
            return Access.AUTHENTICATED, ""
        case _:
            raise LookupError(f"{descriptor.full_name} has no soma.authz.v1.rule")
