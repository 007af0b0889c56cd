"""SomaMesh: the Python client, over native gRPC and the generated contracts."""

from somamesh.async_client import AsyncClient
from somamesh.client import Client
from somamesh.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    SomaError,
    Unauthenticated,
    Unavailable,
)
from somamesh.memories import Memory
from somamesh.models import Model
from somamesh.turns import Answer, ToolCall, Usage

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "InvalidRequest",
    "Memory",
    "Model",
    "NotFound",
    "PermissionDenied",
    "RateLimited",
    "ServerError",
    "SomaError",
    "ToolCall",
    "Unauthenticated",
    "Unavailable",
    "Usage",
]
