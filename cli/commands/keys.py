"""`soma keys`: service accounts and their API keys."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.options import DataDirOption, KeyOption, UrlOption, directory, names, refuse_before_subcommand

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from soma.identity.v1 import service_account_service_pb2 as pb
    from soma.identity.v1.service_account_service_pb2_grpc import ServiceAccountServiceAsyncStub

    from cli.endpoint import Endpoint

    Action = Callable[["ServiceAccountServiceAsyncStub", "Endpoint"], Awaitable[None]]

CALL_SECONDS = 30.0
ALL = 500

AccountArgument = Annotated[str, typer.Argument(help="Id of the service account.")]
keys = typer.Typer(help="List, make, rotate and revoke the API keys of service accounts.")


@keys.callback(invoke_without_command=True)
def show(context: typer.Context, data_dir: DataDirOption = None, url: UrlOption = None, key: KeyOption = None) -> None:
    """List the service accounts of your tenant and their keys."""
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir", "url", "key")
        return

    async def run(stub: "ServiceAccountServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import service_account_service_pb2 as pb

        from cli.table import aligned

        rows: list[tuple[str, ...]] = [("account", "id", "may", "key", "expires", "last used")]
        request = pb.ListServiceAccountsRequest(page_size=ALL)
        while True:
            page = await stub.ListServiceAccounts(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
            for account in page.service_accounts:
                rows += _rows(account)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        typer.echo("\n".join(aligned(rows)))

    _run(data_dir, url, key, run)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Name of the new service account.")],
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas: read:*,execute:chat.")],
    days: Annotated[int | None, typer.Option(help="Days until the key expires (90); 0 for never.", min=0)] = None,
    tier: Annotated[str, typer.Option(help="Its rate limits. Those of the tenant if not given.")] = "",
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Make a service account, and print its key, which is shown only now."""

    async def run(stub: "ServiceAccountServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import service_account_service_pb2 as pb

        request = pb.CreateServiceAccountRequest(name=name, scopes=names(scopes), tier=tier, expires_in_days=days)
        made = await stub.CreateServiceAccount(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
        typer.echo(f"{name} is {made.service_account_id}; this is its key:", err=True)
        typer.echo(made.api_key)

    _run(data_dir, url, key, run)


@keys.command()
def rotate(
    account: AccountArgument,
    overlap: Annotated[
        int | None, typer.Option(help="Seconds for which the earlier keys still work (86400).", min=0)
    ] = None,
    days: Annotated[int | None, typer.Option(help="Days until the key expires (90); 0 for never.", min=0)] = None,
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """Make another key, and print it; the earlier keys end after the overlap."""

    async def run(stub: "ServiceAccountServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import service_account_service_pb2 as pb

        request = pb.RotateServiceAccountKeyRequest(
            service_account_id=account, overlap_seconds=overlap, expires_in_days=days
        )
        made = await stub.RotateServiceAccountKey(request, metadata=endpoint.metadata, timeout=CALL_SECONDS)
        typer.echo(made.api_key)

    _run(data_dir, url, key, run)


@keys.command()
def revoke(
    account: AccountArgument,
    key_id: Annotated[str, typer.Argument(help="Id of one key. All keys of the account if not given.")] = "",
    data_dir: DataDirOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
) -> None:
    """End a key, or a service account with all of its keys."""

    async def run(stub: "ServiceAccountServiceAsyncStub", endpoint: "Endpoint") -> None:
        from soma.identity.v1 import service_account_service_pb2 as pb

        metadata = endpoint.metadata
        if key_id:
            one = pb.RevokeApiKeyRequest(service_account_id=account, key_id=key_id)
            await stub.RevokeApiKey(one, metadata=metadata, timeout=CALL_SECONDS)
        else:
            every = pb.RevokeServiceAccountRequest(service_account_id=account)
            await stub.RevokeServiceAccount(every, metadata=metadata, timeout=CALL_SECONDS)
        typer.echo(f"{key_id or account} is revoked")

    _run(data_dir, url, key, run)


def _run(data_dir: "Path | None", url: str | None, key: str | None, action: "Action") -> None:
    from soma.identity.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub

    from cli.calling import with_stub
    from cli.endpoint import find_endpoint

    endpoint = find_endpoint(directory(data_dir), url, key)

    async def run(stub: "ServiceAccountServiceAsyncStub") -> None:
        await action(stub, endpoint)

    with_stub(endpoint, ServiceAccountServiceStub, run)


def _rows(account: "pb.ServiceAccount") -> "list[tuple[str, ...]]":
    from soma.identity.v1 import service_account_service_pb2 as pb

    first = (account.name, account.service_account_id, ", ".join(account.scopes))
    rows: list[tuple[str, ...]] = []
    for key in account.keys:
        ended = "revoked" if key.HasField("revoke_time") else ""
        expires = ended or (_day(key.expire_time) if key.HasField("expire_time") else "never")
        used = _day(key.last_use_time) if key.HasField("last_use_time") else "never"
        rows.append((*(first if not rows else ("", "", "")), key.key_id, expires, used))
    if not rows or account.state == pb.ServiceAccount.STATE_REVOKED:
        return rows or [(*first, "–", "", "")]
    return rows


def _day(time: object) -> str:
    from google.protobuf.timestamp_pb2 import Timestamp

    assert isinstance(time, Timestamp)
    return time.ToDatetime().isoformat(sep=" ", timespec="minutes")
