"""People and programs of a test: users who have logged in, and service accounts."""

import uuid
from typing import Any

import httpx

from tests.e2e.stack import CALL_SECONDS, Stack

PASSWORD = "seven grey herons wade slowly"


def named() -> str:
    """A name that nobody has."""
    return f"n{uuid.uuid4().hex[:12]}"


def with_key(stack: Stack, key: str) -> httpx.AsyncClient:
    """An HTTP client with a credential."""
    return stack.http(authorization=f"Bearer {key}")


async def account(http: httpx.AsyncClient, *scopes: str, **fields: Any) -> dict[str, Any]:
    """A new service account; its key is `api_key`."""
    asked = {"name": named(), "scopes": scopes, "tier": "unlimited", **fields}
    made: dict[str, Any] = (await http.post("/v1/service-accounts", json=asked)).raise_for_status().json()
    return made


async def user(http: httpx.AsyncClient, *roles: str, tenant: str = "default") -> dict[str, Any]:
    """A new user in the tenant of `http`, who has logged in with a password of their own.

    Returns the answer to the login, with `username`.
    """
    username = named()
    made = (await http.post("/v1/users", json={"username": username, "roles": roles})).raise_for_status().json()
    async with httpx.AsyncClient(base_url=http.base_url, timeout=CALL_SECONDS) as anybody:

        async def login(password: str) -> dict[str, Any]:
            said = {"tenant_id": tenant, "username": username, "password": password}
            answer: dict[str, Any] = (await anybody.post("/v1/auth/login", json=said)).raise_for_status().json()
            return answer

        first = await login(made["password"])
        change = {"current_password": made["password"], "new_password": PASSWORD}
        headers = {"authorization": f"Bearer {first['access_token']}"}
        (await anybody.post("/v1/auth/password", json=change, headers=headers)).raise_for_status()
        return {**await login(PASSWORD), "username": username}


def reason_of(answer: httpx.Response) -> str:
    """The reason of an error over REST."""
    details: list[dict[str, Any]] = answer.json()["error"]["details"]
    return next((str(detail["reason"]) for detail in details if "reason" in detail), "")
