"""SomaMesh: the Python client. It uses native gRPC and the generated contracts."""

from somamesh.answers import Answer, Event, Usage
from somamesh.async_client import AsyncClient
from somamesh.async_streams import AsyncAnswerStream, AsyncResponseStream, AsyncStream
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
from somamesh.logprobs import TokenLogprob
from somamesh.logs import LogEntry
from somamesh.media import Audio, File, Image, Kept, ProviderFile
from somamesh.memories import Memory, Retrieval, Stored
from somamesh.messages import Message, Tool, ToolCall
from somamesh.models import Completion, Embeddings, Model, TokenCount
from somamesh.options import Options, Prompt
from somamesh.parts import Citation, Part, Reasoning, Text
from somamesh.policies import Finding, Notice, Rule, Verdict
from somamesh.responses import Failure, InputItem, Item, Response
from somamesh.session_messages import Performance, Reply, SessionStats
from somamesh.session_templates import Template
from somamesh.sessions import Session
from somamesh.streams import AnswerStream, ResponseStream, Stream

__all__ = [
    "APIError",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncClient",
    "AsyncResponseStream",
    "AsyncStream",
    "Audio",
    "AuthenticationError",
    "Citation",
    "Client",
    "Completion",
    "ConflictError",
    "Context",
    "Conversation",
    "DeadlineError",
    "Document",
    "Embeddings",
    "Event",
    "Failure",
    "File",
    "Finding",
    "Image",
    "InputItem",
    "InvalidRequestError",
    "Item",
    "Kept",
    "LogEntry",
    "Memory",
    "Message",
    "Model",
    "NotFoundError",
    "Notice",
    "Options",
    "Part",
    "Performance",
    "PermissionDeniedError",
    "Prompt",
    "ProviderFile",
    "RateLimitError",
    "Reasoning",
    "Reply",
    "Response",
    "ResponseStream",
    "Retrieval",
    "Rule",
    "ServerError",
    "Session",
    "SessionStats",
    "Stored",
    "Stream",
    "Template",
    "Text",
    "TokenCount",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "UnavailableError",
    "Usage",
    "UsageRecord",
    "Verdict",
]
