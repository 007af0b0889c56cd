"""Service accounts: programs with API keys, which never get a scope that their maker lacks."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from soma.errors.v1 import reasons
from soma.identity.v1 import service_account_service_pb2 as pb

from services.identity.roles import require_held
from services.identity.store.accounts import AccountStore, Place
from services.mesh.call import api_key, errors, page_token
from services.mesh.call.principal import Principal
from services.mesh.call.timestamp import timestamp

PAGE_SIZE = 50
OVERLAP_SECONDS = 24 * 3600


class Accounts:
    """Makes, rotates and revokes service accounts; `changed` is called after something was revoked."""

    def __init__(
        self, accounts: AccountStore, tiers: Collection[str], key_days: int, changed: Callable[[], None]
    ) -> None:
        self._accounts = accounts
        self._tiers = tiers
        self._key_days = key_days
        self._changed = changed

    async def create(
        self, caller: Principal, request: pb.CreateServiceAccountRequest
    ) -> pb.CreateServiceAccountResponse:
        """A new account with its first key.

        Raises:
            PermissionDenied: the caller lacks one of the scopes.
            InvalidArgument: there is no such tier.
            AlreadyExists: the tenant has an account of this name.
        """
        require_held(caller, request.scopes, "a service account cannot get")
        require_tier(request.tier, self._tiers)
        key, expire_time = api_key.make(), self._expiry(request)
        asked = pb.ServiceAccount(name=request.name, scopes=request.scopes, tier=request.tier, creator=caller.subject)
        account = await self._accounts.create(asked, caller.tenant_id, key, expire_time)
        if account is None:
            raise errors.AlreadyExists(f"there is a service account {request.name!r} already")
        return pb.CreateServiceAccountResponse(
            service_account=account,
            service_account_id=account.service_account_id,
            name=account.name,
            scopes=account.scopes,
            api_key=key.text,
            key_id=key.key_id,
            expire_time=timestamp(expire_time),
        )

    async def get(self, caller: Principal, account_id: str) -> pb.ServiceAccount:
        """An account.

        Raises:
            NotFound: the tenant has no such account.
        """
        return _found(await self._accounts.get(caller.tenant_id, UUID(account_id)), account_id)

    async def list(self, caller: Principal, request: pb.ListServiceAccountsRequest) -> pb.ListServiceAccountsResponse:
        """A page of accounts, newest first.

        Raises:
            InvalidArgument: the page token does not belong to this list.
        """
        size, place = request.page_size or PAGE_SIZE, page_token.read(request, datetime, UUID)
        found = await self._accounts.page(caller.tenant_id, Place(*place) if place else None, size + 1)
        response = pb.ListServiceAccountsResponse(service_accounts=found[:size])
        if len(found) > size:
            last = found[size - 1]
            response.next_page_token = page_token.write(
                request, last.create_time.ToDatetime(tzinfo=UTC), UUID(last.service_account_id)
            )
        return response

    async def rotate(
        self, caller: Principal, request: pb.RotateServiceAccountKeyRequest
    ) -> pb.RotateServiceAccountKeyResponse:
        """Another key; the earlier ones end after the overlap.

        Raises:
            NotFound: the tenant has no such account.
            PermissionDenied: the account has a scope that the caller lacks.
            FailedPrecondition: the account is revoked.
        """
        account = await self.get(caller, request.service_account_id)
        require_held(caller, account.scopes, "the service account has")
        key, expire_time = api_key.make(), self._expiry(request)
        overlap = request.overlap_seconds if request.HasField("overlap_seconds") else OVERLAP_SECONDS
        rotated = _found(
            await self._accounts.rotate(
                caller.tenant_id, UUID(request.service_account_id), key, expire_time, float(overlap)
            ),
            request.service_account_id,
        )
        if rotated.state != pb.ServiceAccount.STATE_ACTIVE:
            raise errors.FailedPrecondition("the service account is revoked", reason=reasons.SERVICE_ACCOUNT_REVOKED)
        self._changed()
        return pb.RotateServiceAccountKeyResponse(
            service_account=rotated, api_key=key.text, key_id=key.key_id, expire_time=timestamp(expire_time)
        )

    async def revoke(self, caller: Principal, account_id: str) -> pb.ServiceAccount:
        """End an account and all of its keys.

        Raises:
            NotFound: the tenant has no such account.
        """
        account = _found(await self._accounts.revoke(caller.tenant_id, UUID(account_id)), account_id)
        self._changed()
        return account

    async def revoke_key(self, caller: Principal, account_id: str, key_id: str) -> pb.ServiceAccount:
        """End one key.

        Raises:
            NotFound: the tenant has no such account, or the account has no such key.
        """
        account = _found(await self._accounts.revoke_key(caller.tenant_id, UUID(account_id), key_id), account_id)
        self._changed()
        return account

    def _expiry(self, request: pb.CreateServiceAccountRequest | pb.RotateServiceAccountKeyRequest) -> datetime | None:
        days = request.expires_in_days if request.HasField("expires_in_days") else self._key_days
        return datetime.now(UTC) + timedelta(days=days) if days else None


def require_tier(tier: str, tiers: Collection[str]) -> None:
    """Refuse a tier that the settings do not have; an empty one stands for the tenant's.

    Raises:
        InvalidArgument: there is no such tier.
    """
    if tier and tier not in tiers:
        raise errors.InvalidArgument(
            f"there is no tier {tier!r}; there are {', '.join(sorted(tiers))}", reason=reasons.TIER_UNKNOWN
        )


def _found(account: pb.ServiceAccount | None, account_id: str) -> pb.ServiceAccount:
    if account is None:
        raise errors.NotFound("there is no such service account or key", metadata={"service_account_id": account_id})
    return account
