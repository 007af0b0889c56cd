"""`soma login` and `soma logout`: begin and end a session with a stack."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, UrlOption, directory

if TYPE_CHECKING:
    import grpc
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub
    from soma.identity.v1.user_service_pb2_grpc import UserServiceAsyncStub

    from cli.endpoint import Endpoint

CALL_SECONDS = 30.0


def login(
    username: Annotated[str, typer.Option(help="Your username.", prompt=True)],
    tenant: Annotated[str, typer.Option(help="Your tenant. The one that operates the mesh if not given.")] = "",
    data_dir: DataDirOption = None,
    url: UrlOption = None,
) -> None:
    """Log in with a password; later commands for the same URL use the session.

    The password is asked for. Without a terminal it is a line of standard input; a second line is the new password, if
    the password has to be changed.
    """
    import asyncio

    from cli.endpoint import find_endpoint

    endpoint = find_endpoint(directory(data_dir), url, None)
    asyncio.run(_login(endpoint, username, tenant))


def logout(data_dir: DataDirOption = None, url: UrlOption = None) -> None:
    """End the session, and forget its tokens."""
    import asyncio

    from cli.endpoint import find_endpoint

    endpoint = find_endpoint(directory(data_dir), url, None)
    if endpoint.login is None:
        typer.echo(f"nobody is logged in to {endpoint.url}")
        return
    asyncio.run(_logout(endpoint))


async def _login(endpoint: "Endpoint", username: str, tenant: str) -> None:
    import time

    from soma.identity.v1 import auth_service_pb2 as pb
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub

    from cli.logins import Login, Logins

    async with endpoint.channel(authenticated=False) as channel:
        stub: AuthServiceAsyncStub = AuthServiceStub(channel)
        password = _secret("Password")
        request = pb.LoginRequest(username=username, password=password, tenant_id=tenant)
        answer = await stub.Login(request, timeout=CALL_SECONDS)
        if answer.must_change_password:
            await _change(channel, answer.access_token, password)
    Logins().put(
        Login(endpoint.url, username, answer.access_token, answer.refresh_token, time.time() + answer.expires_in)
    )
    typer.echo(f"logged in to {endpoint.url} as {username} of the tenant {answer.tenant_id}")


async def _change(channel: "grpc.aio.Channel", token: str, password: str) -> None:
    from soma.identity.v1 import user_service_pb2 as pb
    from soma.identity.v1.user_service_pb2_grpc import UserServiceStub

    from services.mesh.call.errors import InvalidArgument

    typer.echo("The password works once; choose another one.", err=True)
    while True:
        chosen = _secret("New password", again=True)
        stub: UserServiceAsyncStub = UserServiceStub(channel)
        request = pb.ChangePasswordRequest(current_password=password, new_password=chosen)
        try:
            await stub.ChangePassword(request, metadata=[("authorization", f"Bearer {token}")], timeout=CALL_SECONDS)
            return
        except InvalidArgument as error:
            if not sys.stdin.isatty():
                raise
            typer.echo(error.message, err=True)


async def _logout(endpoint: "Endpoint") -> None:
    from soma.identity.v1 import auth_service_pb2 as pb
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub

    from cli.logins import Logins
    from services.mesh.call.errors import Unauthenticated

    assert endpoint.login is not None
    try:
        async with endpoint.channel() as channel:
            stub: AuthServiceAsyncStub = AuthServiceStub(channel)
            token = [("authorization", f"Bearer {endpoint.login.access_token}")]
            await stub.Logout(pb.LogoutRequest(), metadata=token, timeout=CALL_SECONDS)
    except Unauthenticated:
        # The session has ended before.
        typer.echo("the session had ended already", err=True)
    Logins().remove(endpoint.url)
    typer.echo(f"logged out of {endpoint.url}")


def _secret(prompt: str, again: bool = False) -> str:
    """A password from the terminal, or the next line of standard input."""
    if sys.stdin.isatty():
        typed: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=again)
        return typed
    return sys.stdin.readline().rstrip("\n")
