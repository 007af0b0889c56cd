"""Builds the calls of RoleService; generated from soma/identity/v1/role_service.proto."""

from soma.identity.v1 import role_service_pb2 as pb

from somamesh.calls import Call, no_value, unary, unchanged


def list_roles(*, timeout: float | None = None) -> Call[pb.ListRolesResponse]:
    """Lists the roles."""
    request = pb.ListRolesRequest()
    return unary(lambda mesh: mesh.role_service.ListRoles, request, unchanged, repeatable=True, timeout=timeout)


def set_role(role: pb.Role, *, timeout: float | None = None) -> Call[pb.SetRoleResponse]:
    """Makes a role or changes it, for all who have it, within a second.

    Args:
        role: The role. The caller must have all of its scopes.
    """
    request = pb.SetRoleRequest(role=role)
    return unary(lambda mesh: mesh.role_service.SetRole, request, unchanged, repeatable=True, timeout=timeout)


def delete_role(name: str, *, timeout: float | None = None) -> Call[None]:
    """Deletes a role; users who have it lose its scopes within a second.

    Args:
        name: Its name.
    """
    request = pb.DeleteRoleRequest(name=name)
    return unary(lambda mesh: mesh.role_service.DeleteRole, request, no_value, repeatable=True, timeout=timeout)
