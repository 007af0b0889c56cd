"""What a tenant may own, made over REST: the variables of all paths in the contracts."""

import base64
import hashlib
import uuid
from types import SimpleNamespace

import httpx

from tests.e2e.scripted import MODEL

# The smallest GIF, of one pixel.
PICTURE = "R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="


async def owned(http: httpx.AsyncClient, name: str = "") -> dict[str, object]:
    """A conversation, a fact, a picture, a session, a response, an account, a user, a tenant and a role, of this name.

    Only the operator's tenant may own tenants: others have the variable without a tenant.
    """
    name = name or f"n{uuid.uuid4().hex[:12]}"
    picture = {"role": "ROLE_USER", "parts": [{"image": {"data": PICTURE, "media_type": "image/gif"}}]}
    said = {"messages": [{"role": "ROLE_USER", "content": f"{name} said this"}, picture]}
    await http.post(f"/v1/memory/conversations/{name}/messages", json=said)
    await http.post("/v1/remember", json={"key": name, "value": f"{name} remembers"})
    session = (await http.post("/api/v1/chat/sessions", json={"title": name})).json()["id"]
    kept = {"model": MODEL, "input": f"{name} asked this", "background": True}
    response = (await http.post("/v1/responses", json=kept)).json()["id"]
    account = (await http.post("/v1/service-accounts", json={"name": name, "scopes": ["read:models"]})).json()
    user = (await http.post("/v1/users", json={"username": name, "roles": ["member"]})).json()["user"]
    await http.post("/v1/tenants", json={"tenant_id": name, "title": name})
    await http.put(f"/v1/roles/{name}", json={"scopes": ["read:models"]})
    return {
        "conversation_id": name,
        "key": name,
        "hash": hashlib.sha256(base64.b64decode(PICTURE)).hexdigest(),
        "session_id": session,
        "task_id": session,
        "response_id": response,
        "dead_letter_id": str(uuid.uuid4()),
        "service_account_id": account["service_account_id"],
        "key_id": account["key_id"],
        "user_id": user["user_id"],
        "user": SimpleNamespace(user_id=user["user_id"]),
        "tenant_id": name,
        "tenant": SimpleNamespace(tenant_id=name),
        "name": name,
        "role": SimpleNamespace(name=name),
    }
