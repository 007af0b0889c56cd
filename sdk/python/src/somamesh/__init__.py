"""SomaMesh: the Python client, over native gRPC and the generated contracts."""

from somamesh.answers import Answer, Usage
from somamesh.async_client import AsyncClient
from somamesh.async_streams import AsyncAnswerStream
from somamesh.client import Client
from somamesh.conversations import Context, Conversation, Document
from somamesh.costs import UsageRecord
from somamesh.exceptions import (
    APIError,
    AuthenticationError,
    ConflictError,
    DeadlineError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnavailableError,
)
from somamesh.memories import Memory, Retrieval, Stored
from somamesh.messages import Message, Tool, ToolCall
from somamesh.models import Completion, Embeddings, Model
from somamesh.options import Options
from somamesh.policies import Finding, Notice, Rule, Verdict
from somamesh.streams import AnswerStream

__all__ = [
    "APIError",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "Completion",
    "ConflictError",
    "Context",
    "Conversation",
    "DeadlineError",
    "Document",
    "Embeddings",
    "Finding",
    "InvalidRequestError",
    "Memory",
    "Message",
    "Model",
    "NotFoundError",
    "Notice",
    "Options",
    "PermissionDeniedError",
    "RateLimitError",
    "Retrieval",
    "Rule",
    "ServerError",
    "Stored",
    "Tool",
    "ToolCall",
    "UnavailableError",
    "Usage",
    "UsageRecord",
    "Verdict",
]
