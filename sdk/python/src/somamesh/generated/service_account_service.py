"""Builds the calls of ServiceAccountService; generated from soma/identity/v1/service_account_service.proto."""

from collections.abc import Sequence

from soma.identity.v1 import service_account_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, unary, unchanged


def create_service_account(
    name: str,
    scopes: Sequence[str],
    *,
    expires_in_days: int | None = None,
    tier: str = "",
    timeout: float | None = None,
) -> Call[pb.CreateServiceAccountResponse]:
    """Makes a service account and its first key, which is shown only in the answer.

    Args:
        name: Its name, once in a tenant.
        scopes: What it may do, such as `read:*` or `execute:tools`. The caller must have each of them.
        expires_in_days: Days until the key expires; 90 when unset, and 0 for a key that does not expire.
        tier: Its rate limits, as a name in the settings of identity; the tenant's when empty.
    """
    request = pb.CreateServiceAccountRequest(name=name, scopes=scopes, expires_in_days=expires_in_days, tier=tier)
    return unary(
        lambda mesh: mesh.service_account_service.CreateServiceAccount,
        request,
        unchanged,
        repeatable=False,
        timeout=timeout,
    )


def get_service_account(service_account_id: str, *, timeout: float | None = None) -> Call[pb.GetServiceAccountResponse]:
    """Returns a service account.

    Args:
        service_account_id: Its id.
    """
    request = pb.GetServiceAccountRequest(service_account_id=service_account_id)
    return unary(
        lambda mesh: mesh.service_account_service.GetServiceAccount,
        request,
        unchanged,
        repeatable=True,
        timeout=timeout,
    )


def list_service_accounts(*, page_size: int = 0, timeout: float | None = None) -> Listing[pb.ServiceAccount]:
    """Lists the service accounts of the caller's tenant, newest first. Pages are fetched while iterating.

    Args:
        page_size: Most accounts in the answer; 50 when unset.
    """

    def read(response: pb.ListServiceAccountsResponse) -> Page[pb.ServiceAccount]:
        return Page([unchanged(each) for each in response.service_accounts], response.next_page_token)

    def page(token: str) -> Call[Page[pb.ServiceAccount]]:
        request = pb.ListServiceAccountsRequest(page_size=page_size, page_token=token)
        return unary(
            lambda mesh: mesh.service_account_service.ListServiceAccounts,
            request,
            read,
            repeatable=True,
            timeout=timeout,
        )

    return Listing(page)


def rotate_service_account_key(
    service_account_id: str,
    *,
    overlap_seconds: int | None = None,
    expires_in_days: int | None = None,
    timeout: float | None = None,
) -> Call[pb.RotateServiceAccountKeyResponse]:
    """Makes another key; the earlier ones work until the overlap is over.

    Args:
        service_account_id: The account.
        overlap_seconds: Seconds for which its earlier keys still work, so that programs can change to the new
            one; a day when unset. With 0 they stop at once.
        expires_in_days: Days until the new key expires; 90 when unset, and 0 for a key that does not expire.
    """
    request = pb.RotateServiceAccountKeyRequest(
        service_account_id=service_account_id, overlap_seconds=overlap_seconds, expires_in_days=expires_in_days
    )
    return unary(
        lambda mesh: mesh.service_account_service.RotateServiceAccountKey,
        request,
        unchanged,
        repeatable=False,
        timeout=timeout,
    )


def revoke_service_account(
    service_account_id: str, *, timeout: float | None = None
) -> Call[pb.RevokeServiceAccountResponse]:
    """Ends all keys of a service account within a second.

    Args:
        service_account_id: The account.
    """
    request = pb.RevokeServiceAccountRequest(service_account_id=service_account_id)
    return unary(
        lambda mesh: mesh.service_account_service.RevokeServiceAccount,
        request,
        unchanged,
        repeatable=True,
        timeout=timeout,
    )


def revoke_api_key(
    service_account_id: str, key_id: str, *, timeout: float | None = None
) -> Call[pb.RevokeApiKeyResponse]:
    """Ends one key within a second.

    Args:
        service_account_id: The account.
        key_id: The key.
    """
    request = pb.RevokeApiKeyRequest(service_account_id=service_account_id, key_id=key_id)
    return unary(
        lambda mesh: mesh.service_account_service.RevokeApiKey, request, unchanged, repeatable=True, timeout=timeout
    )
