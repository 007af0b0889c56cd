"""`soma tenants`: the organisations whose data is kept apart."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory, refuse_before_subcommand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from soma.identity.v1.tenant_service_pb2_grpc import TenantServiceAsyncStub

    from cli.endpoint import Endpoint

    Action = Callable[["TenantServiceAsyncStub", "Endpoint"], Awaitable[None]]

CALL_SECONDS = 30.0
ALL = 500

TenantArgument = Annotated[str, typer.Argument(help="Id of the tenant.")]
tenants = typer.Typer(help="List, make, suspend and resume tenants.")


@tenants.callback(invoke_without_command=True)
def show(context: typer.Context, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None) -> None:
    """List the tenants that you may see."""
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir", "url", "key")
        return

    async def run(stub: "TenantServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import tenant_service_pb2 as pb

        from cli.table import aligned

        rows: list[tuple[str, ...]] = [("tenant", "title", "state", "limits")]
        request = pb.ListTenantsRequest(page_size=ALL)
        while True:
            page = await stub.ListTenants(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
            for tenant in page.tenants:
                state = pb.Tenant.State.Name(tenant.state).removeprefix("STATE_").lower()
                rows.append((tenant.tenant_id, tenant.title, state, tenant.tier or "standard"))
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        typer.echo("\n".join(aligned(rows)))

    _run(data_dir, url, key, run)


@tenants.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Id of the new tenant: lower-case letters, digits and hyphens.")],
    title: Annotated[str, typer.Option(help="Its name for people.")] = "",
    tier: Annotated[str, typer.Option(help="Its rate limits. The standard ones if not given.")] = "",
    admin: Annotated[str, typer.Option(help="Name of its first user.")] = "admin",
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Make a tenant, and print the password with which its administrator logs in for the first time."""

    async def run(stub: "TenantServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import tenant_service_pb2 as pb

        request = pb.CreateTenantRequest(tenant_id=tenant, title=title, tier=tier, admin_username=admin)
        made = await stub.CreateTenant(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
        typer.echo(f"soma login --tenant {tenant} --username {made.admin_username}, with this password:", err=True)
        typer.echo(made.admin_password)

    _run(data_dir, url, key, run)


@tenants.command()
def suspend(
    tenant: TenantArgument, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Refuse all credentials of a tenant, and keep its data."""
    _run(data_dir, url, key, _state_set(tenant, suspended=True))


@tenants.command()
def resume(
    tenant: TenantArgument, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None
) -> None:
    """Accept the credentials of a suspended tenant again."""
    _run(data_dir, url, key, _state_set(tenant, suspended=False))


def _state_set(tenant: str, *, suspended: bool) -> "Action":
    async def run(stub: "TenantServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import tenant_service_pb2 as pb

        state = pb.Tenant.STATE_SUSPENDED if suspended else pb.Tenant.STATE_ACTIVE
        request = pb.UpdateTenantRequest(tenant=pb.Tenant(tenant_id=tenant, state=state))
        await stub.UpdateTenant(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
        typer.echo(f"{tenant} is {'suspended' if suspended else 'active'}")

    return run


def _run(data_dir: "Path | None", url: str | None, key: str | None, action: "Action") -> None:
    from soma.identity.v1.tenant_service_pb2_grpc import TenantServiceStub

    from cli.calling import with_stub
    from cli.endpoint import find_endpoint

    endpoint = find_endpoint(directory(data_dir), url, key)

    async def run(stub: "TenantServiceAsyncStub") -> None:
        await action(stub, endpoint)

    with_stub(endpoint, TenantServiceStub, run)
