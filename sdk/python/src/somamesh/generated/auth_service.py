"""Builds the calls of AuthService; generated from soma/identity/v1/auth_service.proto."""

from soma.identity.v1 import auth_service_pb2 as pb

from somamesh.calls import Call, no_value, unary, unchanged


def login(username: str, password: str, *, tenant_id: str = "", timeout: float | None = None) -> Call[pb.LoginResponse]:
    """Exchanges a username and a password for tokens.

    Args:
        username: Name of the user in its tenant.
        password: The user's password.
        tenant_id: Tenant of the user; `default` when empty.
    """
    request = pb.LoginRequest(username=username, password=password, tenant_id=tenant_id)
    return unary(lambda mesh: mesh.auth_service.Login, request, unchanged, repeatable=False, timeout=timeout)


def refresh(refresh_token: str, *, timeout: float | None = None) -> Call[pb.RefreshResponse]:
    """Exchanges a refresh token for new tokens. If a token is used a second time, its session ends.

    Args:
        refresh_token: The newest refresh token of the session.
    """
    request = pb.RefreshRequest(refresh_token=refresh_token)
    return unary(lambda mesh: mesh.auth_service.Refresh, request, unchanged, repeatable=False, timeout=timeout)


def verify(*, timeout: float | None = None) -> Call[pb.VerifyResponse]:
    """Says who the caller is."""
    request = pb.VerifyRequest()
    return unary(lambda mesh: mesh.auth_service.Verify, request, unchanged, repeatable=True, timeout=timeout)


def logout(*, timeout: float | None = None) -> Call[None]:
    """Ends the session of the token that the call is made with; its tokens stop working within a second."""
    request = pb.LogoutRequest()
    return unary(lambda mesh: mesh.auth_service.Logout, request, no_value, repeatable=True, timeout=timeout)


def get_jwks(*, timeout: float | None = None) -> Call[pb.GetJwksResponse]:
    """Returns the public keys that verify our tokens."""
    request = pb.GetJwksRequest()
    return unary(lambda mesh: mesh.auth_service.GetJwks, request, unchanged, repeatable=True, timeout=timeout)
