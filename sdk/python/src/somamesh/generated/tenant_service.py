"""Builds the calls of TenantService; generated from soma/identity/v1/tenant_service.proto."""

from google.protobuf import field_mask_pb2
from soma.identity.v1 import tenant_service_pb2 as pb

from somamesh.calls import Call, Listing, Page, unary, unchanged


def create_tenant(
    tenant_id: str, *, title: str = "", tier: str = "", admin_username: str = "", timeout: float | None = None
) -> Call[pb.CreateTenantResponse]:
    """Makes a tenant and its first user.

    Args:
        tenant_id: Its id: lower-case letters, digits and hyphens.
        title: Its name for people.
        tier: Its rate limits, as a name in the settings of identity; the default of the settings when empty.
        admin_username: Name of its first user, an administrator; `admin` when empty.
    """
    request = pb.CreateTenantRequest(tenant_id=tenant_id, title=title, tier=tier, admin_username=admin_username)
    return unary(lambda mesh: mesh.tenant_service.CreateTenant, request, unchanged, repeatable=False, timeout=timeout)


def get_tenant(tenant_id: str, *, timeout: float | None = None) -> Call[pb.GetTenantResponse]:
    """Returns a tenant.

    Args:
        tenant_id: Its id.
    """
    request = pb.GetTenantRequest(tenant_id=tenant_id)
    return unary(lambda mesh: mesh.tenant_service.GetTenant, request, unchanged, repeatable=True, timeout=timeout)


def list_tenants(*, page_size: int = 0, timeout: float | None = None) -> Listing[pb.Tenant]:
    """Lists the tenants that the caller may see. Pages are fetched while iterating.

    Args:
        page_size: Most tenants in the answer; 50 when unset.
    """

    def read(response: pb.ListTenantsResponse) -> Page[pb.Tenant]:
        return Page([unchanged(each) for each in response.tenants], response.next_page_token)

    def page(token: str) -> Call[Page[pb.Tenant]]:
        request = pb.ListTenantsRequest(page_size=page_size, page_token=token)
        return unary(lambda mesh: mesh.tenant_service.ListTenants, request, read, repeatable=True, timeout=timeout)

    return Listing(page)


def update_tenant(
    tenant: pb.Tenant, *, update_mask: field_mask_pb2.FieldMask | None = None, timeout: float | None = None
) -> Call[pb.UpdateTenantResponse]:
    """Changes a tenant. The credentials of a suspended tenant are refused within a second.

    Args:
        tenant: The tenant, with its new values. If it has an etag, it must not have changed since.
        update_mask: The fields to change, of `title`, `state` and `tier`; those that are set when empty.
    """
    request = pb.UpdateTenantRequest(tenant=tenant, update_mask=update_mask)
    return unary(lambda mesh: mesh.tenant_service.UpdateTenant, request, unchanged, repeatable=False, timeout=timeout)
