"""The vendors' dialects, from their documentation and from reports of their servers' answers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import orjson

from tests.model.dialects.documented import CACHED, MODEL, Documented, Messages, Refusal, openai_error


def entries(*given: Mapping[str, object]) -> dict[str, object]:
    """A list of models in OpenAI's shape."""
    return {"object": "list", "data": [{"object": "model", "created": 1, "owned_by": "lab", **each} for each in given]}


CHAT = {"id": MODEL}
MISTRAL_REFUSAL = {
    "object": "error",
    "message": {
        "detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
    },
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}
GOOGLE_REFUSAL = [{"error": {"code": 400, "message": 'Unknown name "seed"', "status": "INVALID_ARGUMENT"}}]
GOOGLE_QUOTA = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
        }
    }
]
OPENAI_LIMITS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1m30s",
    "x-ratelimit-remaining-tokens": "1000",
    "x-ratelimit-reset-tokens": "6m0s",
}
VLLM_BROKEN = b'data: {"error": {"message": "engine died", "type": "InternalServerError", "code": 500}}\n\n'


def limited(headers: Mapping[str, str], seconds: float, body: object = None) -> Refusal:
    """The refusal of a request over the rate limit."""
    return Refusal(429, body or openai_error("slow down", "rate_limit"), headers, message="slow down", seconds=seconds)


def self_hosted(**more: object) -> Documented:
    """A server that users run themselves, with their own key."""
    return Documented(**{"refuses": frozenset(), **more})  # type: ignore[arg-type]


DIALECTS: Mapping[str, Documented] = {
    "openai": Documented(
        refuses=frozenset({"max_tokens", "top_k", "repetition_penalty"}),
        expects={"max_completion_tokens": 50, "seed": 3, "stream_options": {"include_usage": True}},
        embeddings="/embeddings",
        dimensions="dimensions",
        tokens=True,
        listing=entries(CHAT, {"id": "text-embedding-3-small"}, {"id": "whisper-1"}, {"id": "gpt-image-1"}),
        lists={
            MODEL: "chat",
            "text-embedding-3-small": "embedding",
            "whisper-1": "transcription",
            "gpt-image-1": "image",
        },
        reasoned=True,
        cached={"prompt_tokens_details": {"cached_tokens": CACHED}},
        limited=limited(OPENAI_LIMITS, 90.0),
    ),
    "azure": Documented(
        base="",
        key=("api-key", "sk-1"),
        query={"api-version": "2024-10-21"},
        chat=f"/openai/deployments/{MODEL}/chat/completions",
        models="/openai/models",
        models_query={"api-version": "2024-10-21"},
        embeddings="/openai/deployments/my-embedding/embeddings",
        dimensions="dimensions",
        tokens=True,
        refuses=frozenset({"top_k", "repetition_penalty", "max_tokens"}),
        expects={"max_completion_tokens": 50},
        # Azure lists the models that can be deployed, and not the deployments.
        listing={"data": [{"id": "gpt-4.1", "status": "succeeded", "capabilities": {"chat_completion": True}}]},
        lists={MODEL: "chat", "my-embedding": "embedding"},
        before=b'data: {"id": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}\n\n',
        bad=Refusal(
            400, openai_error("too long", "invalid_request_error", "context_length_exceeded"), message="too long"
        ),
        unauthorized=Refusal(401, openai_error("Access denied due to invalid subscription key", "401")),
    ),
    "anthropic": Messages(
        base="",
        key=("x-api-key", "sk-1"),
        headers={"anthropic-version": "2023-06-01"},
        chat="/v1/messages",
        models="/v1/models",
        models_query={"limit": "1000"},
        listing={"data": [{"type": "model", "id": MODEL, "created_at": "2025-02-19T00:00:00Z"}], "has_more": False},
        thinking="thinking",
        bad=Refusal(
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": "too long"}},
            message="too long",
        ),
        unauthorized=Refusal(401, {"type": "error", "error": {"type": "authentication_error", "message": "x-api-key"}}),
        limited=limited(
            {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": "IN 40"},
            40.0,
            {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
        ),
        broken=b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}\n\n',
    ),
    "gemini": Documented(
        base="/v1beta/openai",
        refuses=frozenset({"seed", "frequency_penalty", "presence_penalty", "top_k", "repetition_penalty", "logprobs"}),
        embeddings="/embeddings",
        dimensions="dimensions",
        listing=entries({"id": f"models/{MODEL}"}, {"id": "models/gemini-embedding-001"}, {"id": "models/imagen-4"}),
        lists={MODEL: "chat", "gemini-embedding-001": "embedding", "imagen-4": "image"},
        signature="c2ln",
        usage="end",
        bad=Refusal(400, GOOGLE_REFUSAL, message='Unknown name "seed"'),
        unauthorized=Refusal(401, [{"error": {"code": 401, "message": "key", "status": "UNAUTHENTICATED"}}]),
        limited=Refusal(429, GOOGLE_QUOTA, message="You exceeded your current quota", seconds=34.0),
    ),
    "mistral": Documented(
        refuses=frozenset(
            {"seed", "user", "stream_options", "messages.name", "max_completion_tokens", "top_k", "repetition_penalty"}
            | {"logprobs", "top_logprobs"}
        ),
        expects={"random_seed": 3, "max_tokens": 50, "tool_choice": "any"},
        call_id=r"[a-zA-Z0-9]{9}",
        embeddings="/embeddings",
        dimensions="output_dimension",
        listing=entries(
            {"id": MODEL, "capabilities": {"completion_chat": True, "function_calling": True}, "type": "base"},
            {"id": "mistral-embed", "capabilities": {"completion_chat": False, "function_calling": False}},
            {"id": "mistral-ocr-latest", "capabilities": {"completion_chat": False}},
        ),
        lists={MODEL: "chat", "mistral-embed": "embedding", "mistral-ocr-latest": "other"},
        thinking="parts",
        thoughts="parts",
        thinker="magistral-medium-latest",
        results="parts",
        answers_results=True,
        usage="end",
        bad=Refusal(422, MISTRAL_REFUSAL, message="Extra inputs are not permitted"),
        unauthorized=Refusal(401, {"detail": "Unauthorized"}),
        limited=limited(
            {"x-ratelimit-remaining-tokens-minute": "0", "ratelimitbysize-reset": "21"},
            21.0,
            {"object": "error", "message": "slow down", "type": "rate_limited", "code": "1300"},
        ),
    ),
    "groq": Documented(
        base="/openai/v1",
        refuses=frozenset({"logprobs", "top_logprobs", "messages.name", "top_k", "repetition_penalty"}),
        expects={"max_completion_tokens": 50},
        listing=entries(
            {"id": MODEL, "context_window": 131072, "active": True},
            {"id": "whisper-large-v3", "context_window": 448},
            {"id": "meta-llama/llama-prompt-guard-2-22m", "context_window": 512},
        ),
        lists={
            MODEL: "chat",
            "whisper-large-v3": "transcription",
            "meta-llama/llama-prompt-guard-2-22m": "moderation",
        },
        thinking="reasoning",
        thoughts="reasoning",
        thinker="openai/gpt-oss-20b",
        usage="x_groq",
        limited=limited(OPENAI_LIMITS | {"retry-after": "2"}, 2.0),
    ),
    "deepseek": Documented(
        base="",
        refuses=frozenset({"top_k", "repetition_penalty"}),
        thinking="reasoning_content",
        thoughts="reasoning_content",
        thoughts_of="tool_turns",
        reasoned=True,
        cached={"prompt_cache_hit_tokens": CACHED, "prompt_cache_miss_tokens": 6},
        before=b": keep-alive\n\n",
        unauthorized=Refusal(402, openai_error("Insufficient Balance", "unknown_error")),
        bad=Refusal(422, openai_error("too long", "invalid_request_error"), message="too long"),
    ),
    "xai": Documented(
        refuses=frozenset({"top_k", "repetition_penalty"}),
        embeddings="/embeddings",
        dimensions="dimensions",
        listing=entries(CHAT, {"id": "grok-imagine-image"}),
        lists={MODEL: "chat", "grok-imagine-image": "image"},
        thinking="reasoning_content",
        reasoned=True,
        bad=Refusal(400, {"code": "Client specified an invalid argument", "error": "too long"}, message="too long"),
        unauthorized=Refusal(401, {"code": "unauthenticated", "error": "Incorrect API key provided: sk-1"}),
    ),
    "together": Documented(
        embeddings="/embeddings",
        expects={"top_k": 40, "repetition_penalty": 1.5},
        listing=[
            {"id": MODEL, "type": "chat", "context_length": 8192, "pricing": {"input": 0.1, "output": 0.2}},
            {"id": "BAAI/bge-large-en-v1.5", "type": "embedding"},
            {"id": "black-forest-labs/FLUX.1", "type": "image"},
            {"id": "Salesforce/Llama-Rank-V1", "type": "rerank"},
        ],
        lists={
            MODEL: "chat",
            "BAAI/bge-large-en-v1.5": "embedding",
            "black-forest-labs/FLUX.1": "image",
            "Salesforce/Llama-Rank-V1": "rerank",
        },
        thinking="reasoning",
        usage="end",
        limited=limited({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "3"}, 3.0),
    ),
    "fireworks": Documented(
        base="/inference/v1",
        refuses=frozenset({"stream_options"}),
        embeddings="/embeddings",
        dimensions="dimensions",
        listing=entries(
            {"id": MODEL, "supports_chat": True, "supports_tools": True, "context_length": 131072},
            {"id": "nomic-ai/nomic-embed-text-v1.5", "supports_chat": False},
            {"id": "accounts/fireworks/models/flux-1-dev-fp8", "supports_chat": False},
        ),
        lists={
            MODEL: "chat",
            "nomic-ai/nomic-embed-text-v1.5": "embedding",
            "accounts/fireworks/models/flux-1-dev-fp8": "image",
        },
        thinking="reasoning_content",
        thoughts="reasoning_content",
        usage="end",
    ),
    "openrouter": Documented(
        base="/api/v1",
        embeddings="/embeddings",
        dimensions="dimensions",
        listing={
            "data": [
                {
                    "id": MODEL,
                    "context_length": 128000,
                    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                    "pricing": {"prompt": "0.000001", "completion": "0.000002", "request": "0"},
                    "supported_parameters": ["tools", "tool_choice", "reasoning"],
                },
                {"id": "openai/text-embedding-3-small", "architecture": {"output_modalities": ["embeddings"]}},
            ]
        },
        lists={MODEL: "chat", "openai/text-embedding-3-small": "embedding"},
        thinking="reasoning_details",
        thoughts="reasoning_details",
        reasoned=True,
        before=b": OPENROUTER PROCESSING\n\n",
        broken=b'data: {"id": "c", "error": {"code": 502, "message": "Provider returned error"}, "choices": '
        b'[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}\n\n',
        bad=Refusal(400, {"error": {"code": 400, "message": "too long"}}, message="too long"),
        unauthorized=Refusal(401, {"error": {"code": 401, "message": "No auth credentials found"}}),
        limited=limited(
            {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "UNIX_MS 40"},
            40.0,
            {"error": {"code": 429, "message": "slow down"}},
        ),
    ),
    "cohere": Documented(
        base="",
        chat="/compatibility/v1/chat/completions",
        models="/v1/models",
        models_query={"page_size": "1000"},
        embeddings="/compatibility/v1/embeddings",
        dimensions="dimensions",
        refuses=frozenset({"logprobs", "top_logprobs", "parallel_tool_calls", "user", "top_k", "repetition_penalty"}),
        listing={
            "models": [
                {"name": MODEL, "endpoints": ["generate", "chat"], "context_length": 256000},
                {"name": "embed-v4.0", "endpoints": ["embed"], "context_length": 128000},
                {"name": "rerank-v3.5", "endpoints": ["rerank"]},
            ]
        },
        lists={MODEL: "chat", "embed-v4.0": "embedding", "rerank-v3.5": "rerank"},
        usage="end",
        bad=Refusal(400, {"id": "1", "message": "too long"}, message="too long"),
        unauthorized=Refusal(401, {"id": "1", "message": "invalid api token"}),
        limited=Refusal(429, {"id": "1", "message": "slow down"}, message="slow down"),
    ),
    "perplexity": Documented(
        base="",
        models="",
        tools=False,
        lists={"sonar": "chat", "sonar-pro": "chat", "sonar-reasoning-pro": "chat", "sonar-deep-research": "chat"},
        usage="end",
        repeats=True,
        limited=Refusal(
            429, {"error": {"message": "slow down", "type": "rate_limit", "code": 429}}, message="slow down"
        ),
        unauthorized=Refusal(401, b"<html><head><title>401 Authorization Required</title></head></html>"),
    ),
    "cerebras": Documented(
        refuses=frozenset({"frequency_penalty", "presence_penalty", "top_k", "repetition_penalty"}),
        expects={"max_completion_tokens": 50},
        thinking="reasoning",
        bad=Refusal(
            400,
            {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "context_length"},
            message="too long",
        ),
        unauthorized=Refusal(
            401, {"message": "Wrong API Key", "type": "invalid_request_error", "code": "wrong_api_key"}
        ),
        limited=limited(
            {"x-ratelimit-remaining-tokens-minute": "0", "x-ratelimit-reset-tokens-minute": "11.38"},
            11.38,
            {"message": "slow down", "type": "too_many_requests_error", "code": "request_quota_exceeded"},
        ),
    ),
    "nvidia": Documented(
        embeddings="/embeddings",
        embeds={"input_type": "query"},
        dimensions="dimensions",
        listing=entries(CHAT, {"id": "nvidia/nv-embedqa-e5-v5"}, {"id": "nvidia/rerank-qa-mistral-4b"}),
        lists={MODEL: "chat", "nvidia/nv-embedqa-e5-v5": "embedding", "nvidia/rerank-qa-mistral-4b": "rerank"},
        thinking="reasoning_content",
        thoughts="reasoning_content",
        bad=Refusal(422, {"detail": [{"type": "value_error", "msg": "too long", "loc": ["body"]}]}, message="too long"),
        unauthorized=Refusal(403, {"status": 403, "title": "Forbidden", "detail": "Authorization failed"}),
        limited=Refusal(429, {"status": 429, "title": "slow down", "detail": "slow down"}, message="slow down"),
    ),
    "huggingface": Documented(
        listing=entries(
            {
                "id": MODEL,
                "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
                "providers": [{"provider": "novita", "status": "live", "supports_tools": True}],
            }
        ),
        thinking="reasoning_content",
        bad=Refusal(400, {"error": {"message": "too long", "type": "invalid_request_error"}}, message="too long"),
        unauthorized=Refusal(401, {"error": "Invalid username or password."}),
    ),
    "ollama": self_hosted(
        embeddings="/embeddings",
        dimensions="dimensions",
        key=("", ""),
        listing=entries({"id": MODEL}, {"id": "nomic-embed-text:latest"}, {"id": "all-minilm:latest"}),
        lists={MODEL: "chat", "nomic-embed-text:latest": "embedding", "all-minilm:latest": "embedding"},
        thinking="reasoning",
        thoughts="reasoning",
        bad=Refusal(400, openai_error("too long", "invalid_request_error"), message="too long"),
    ),
    "lmstudio": self_hosted(
        embeddings="/embeddings",
        listing=entries(CHAT, {"id": "text-embedding-nomic-embed-text-v1.5"}),
        lists={MODEL: "chat", "text-embedding-nomic-embed-text-v1.5": "embedding"},
        thinking="reasoning_content",
        bad=Refusal(400, {"error": "too long"}, message="too long"),
    ),
    "llamacpp": self_hosted(
        embeddings="/embeddings",
        tokens=True,
        listing={
            "models": [{"name": MODEL, "model": MODEL, "capabilities": ["completion"]}],
            **entries({"id": MODEL, "meta": {"n_ctx_train": 32768, "n_embd": 576}}),
        },
        thinking="reasoning_content",
        thoughts="reasoning_content",
        bad=Refusal(
            400,
            {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}},
            message="too long",
        ),
        unauthorized=Refusal(401, {"error": {"code": 401, "message": "Invalid", "type": "authentication_error"}}),
        broken=b'error: {"code": 500, "message": "context shift is disabled", "type": "server_error"}\n\n',
    ),
    "vllm": self_hosted(
        embeddings="/embeddings",
        dimensions="dimensions",
        tokens=True,
        listing=entries({"id": MODEL, "root": MODEL, "max_model_len": 32768}, {"id": "BAAI/bge-m3"}),
        lists={MODEL: "chat", "BAAI/bge-m3": "embedding"},
        thinking="reasoning",
        thoughts="reasoning",
        broken=VLLM_BROKEN,
        bad=Refusal(
            400, {"error": {"message": "too long", "type": "BadRequestError", "code": 400}}, message="too long"
        ),
        unauthorized=Refusal(401, {"error": "Unauthorized"}),
    ),
    "sglang": self_hosted(
        embeddings="/embeddings",
        dimensions="dimensions",
        tokens=True,
        listing=entries({"id": MODEL, "root": MODEL, "max_model_len": 32768}),
        thinking="reasoning_content",
        thoughts="reasoning_content",
        bad=Refusal(
            400, {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400}, message="too long"
        ),
        unauthorized=Refusal(401, {"error": "Unauthorized"}),
        broken=VLLM_BROKEN,
    ),
    "tgi": self_hosted(
        refuses=frozenset({"top_k", "repetition_penalty", "parallel_tool_calls"}),
        bad=Refusal(422, {"error": "too long", "error_type": "validation"}, message="too long"),
        limited=Refusal(429, {"error": "slow down", "error_type": "overloaded"}, message="slow down"),
        broken=b'data: {"error": "Request failed during generation", "error_type": "generation"}\n\n',
    ),
    "openai_compatible": Documented(
        embeddings="/embeddings",
        dimensions="dimensions",
        tokens=True,
        thinking="reasoning_content",
        thoughts="both",
        listing=entries(CHAT, {"id": "an-embedder"}),
        lists={MODEL: "chat", "an-embedder": "embedding"},
    ),
}


def headers_now(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, in which `IN seconds` and `UNIX_MS seconds` become the time that many seconds from now."""
    moment = datetime.now(UTC)
    found = {}
    for name, value in headers.items():
        kind, _, seconds = value.partition(" ")
        if kind == "IN":
            value = (moment + timedelta(seconds=float(seconds))).isoformat(timespec="seconds").replace("+00:00", "Z")
        elif kind == "UNIX_MS":
            value = str(int((moment.timestamp() + float(seconds)) * 1000))
        found[name] = value
    return found


def as_bytes(body: object) -> bytes:
    """The bytes of a body."""
    return body if isinstance(body, bytes) else orjson.dumps(body)
