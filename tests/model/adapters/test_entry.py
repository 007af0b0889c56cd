"""Entries of vendors' lists give the purpose, the context window and the price of a model."""

from typing import Any

import pytest
from soma.model.v1.catalog_service_pb2 import Model

from services.model.adapters.entry import default_first, model_of
from tests.model.vendors import COMPATIBLE, VENDORS

CHAT, TOOLS, EMBEDDING = Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS, Model.CAPABILITY_EMBEDDING


@pytest.mark.parametrize(
    ("vendor", "name", "entry", "capabilities"),
    [
        ("mistral", "m", {"capabilities": {"completion_chat": True, "function_calling": True}}, [CHAT, TOOLS]),
        ("mistral", "m", {"capabilities": {"completion_chat": True, "function_calling": False}}, [CHAT]),
        ("mistral", "mistral-embed", {"capabilities": {"completion_chat": False}}, [EMBEDDING]),
        ("mistral", "unheard-of", {"capabilities": {"completion_chat": False}}, []),
        ("together", "m", {"type": "chat"}, [CHAT, TOOLS]),
        ("together", "m", {"type": "embedding"}, [EMBEDDING]),
        ("together", "m", {"type": "image"}, [Model.CAPABILITY_IMAGE]),
        ("together", "m", {"type": "rerank"}, [Model.CAPABILITY_RERANK]),
        ("lmstudio", "m", {"type": "embeddings"}, [EMBEDDING]),
        ("lmstudio", "m", {"type": "vlm"}, [CHAT, TOOLS]),
        ("cohere", "m", {"endpoints": ["embed", "classify"]}, [EMBEDDING]),
        ("cohere", "m", {"endpoints": ["generate", "chat"]}, [CHAT, TOOLS]),
        ("fireworks", "m", {"supports_chat": False, "supports_tools": False}, []),
        ("fireworks", "m", {"supports_chat": True, "supports_tools": False}, [CHAT]),
        ("openrouter", "m", {"architecture": {"output_modalities": ["text"]}}, [CHAT, TOOLS]),
        ("openrouter", "m", {"architecture": {"output_modalities": ["image", "text"]}}, [CHAT, TOOLS]),
        ("openrouter", "m", {"architecture": {"output_modalities": ["embeddings"]}}, [EMBEDDING]),
        ("openrouter", "m", {"supported_parameters": ["seed", "tools"]}, [CHAT, TOOLS]),
        ("openrouter", "m", {"supported_parameters": ["seed"]}, [CHAT]),
        ("perplexity", "sonar", {}, [CHAT]),
        ("llamacpp", "m", {"capabilities": ["completion"]}, [CHAT, TOOLS]),
        ("groq", "whisper-large-v3", {}, [Model.CAPABILITY_TRANSCRIPTION]),
        ("gemini", "gemini-embedding-001", {}, [EMBEDDING]),
        ("gemini", "veo-3.1", {}, [Model.CAPABILITY_VIDEO]),
        ("openai", "omni-moderation-latest", {}, [Model.CAPABILITY_MODERATION]),
        ("openai", "gpt-4o-realtime-preview", {}, []),
        ("nvidia", "nvidia/nv-embedqa-e5-v5", {}, [EMBEDDING]),
        ("ollama", "all-minilm:latest", {}, [EMBEDDING]),
        ("vllm", "BAAI/bge-m3", {}, [EMBEDDING]),
        ("openai_compatible", "m", {"type": ["chat"], "capabilities": 7, "endpoints": "chat"}, [CHAT, TOOLS]),
    ],
)
def test_the_purpose_of_a_model_comes_from_its_entry_or_its_name(
    vendor: str, name: str, entry: dict[str, Any], capabilities: list[int]
) -> None:
    assert list(model_of(VENDORS[vendor], vendor, name, entry).capabilities) == capabilities


@pytest.mark.parametrize(
    ("entry", "tokens"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"context_length": "131072"}, 131_072),
        ({"context_window": 8192.0}, 8192),
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 32768}}, 2048),
        ({"meta": {"n_ctx_train": 32768}}, 32_768),
        ({"top_provider": {"context_length": 1000}}, 1000),
        ({"context_length": -1, "max_context_length": 10}, 10),
        ({"context_length": None, "meta": [], "top_provider": "no"}, 0),
    ],
)
def test_the_context_window_is_found_under_the_name_of_any_vendor(entry: dict[str, Any], tokens: int) -> None:
    assert model_of(COMPATIBLE, "lab", "m", entry).context_window == tokens


def test_listed_prices_are_converted_to_prices_for_a_million_tokens() -> None:
    entry = {"pricing": {"prompt": "0.00000025", "completion": "0.000002", "input_cache_read": "0", "image": "0.01"}}
    price = model_of(VENDORS["openrouter"], "openrouter", "m", entry).price
    assert (price.input, price.output, price.cached_read, price.image) == (0.25, 2.0, 0.0, 0.01)
    assert price.HasField("cached_read")
    assert not price.HasField("cache_write")
    together = model_of(VENDORS["together"], "together", "m", {"pricing": {"input": 0.88, "output": 0.9}}).price
    assert (together.input, together.output, together.as_of) == (0.88, 0.9, "")


@pytest.mark.parametrize("pricing", [{"prompt": "-1"}, {"prompt": None}, {"prompt": True}, {}, None, "free"])
def test_an_invalid_price_is_not_set(pricing: Any) -> None:
    assert not model_of(VENDORS["openrouter"], "openrouter", "m", {"pricing": pricing}).HasField("price")


def test_prices_of_the_vendors_file_come_with_their_day_and_tiers() -> None:
    model = model_of(VENDORS["gemini"], "gemini", "gemini-2.5-pro", {})
    assert (model.price.input, model.price.output, model.price.as_of) == (1.25, 10.0, "2026-07-01")
    (tier,) = model.price.tiers
    assert (tier.above_tokens, tier.input, tier.output, tier.cached_read) == (200_000, 2.5, 15.0, 0.25)
    assert not tier.HasField("cache_write")
    assert model.context_window == 1_048_576


def test_a_model_of_which_no_price_is_known_has_none() -> None:
    model = model_of(VENDORS["anthropic"], "anthropic", "claude-sonnet-5", {})
    assert not model.HasField("price")
    assert model.context_window == 1_000_000
    assert not model_of(VENDORS["openai"], "openai", "gpt-99", {}).HasField("price")


def test_the_first_model_that_matches_the_earliest_pattern_comes_first() -> None:
    models = [Model(name=name) for name in ("mistral-large-latest", "mistral-small-2506", "mistral-small-latest")]
    names = [model.name for model in default_first(models, VENDORS["mistral"])]
    assert names == ["mistral-small-latest", "mistral-large-latest", "mistral-small-2506"]
    assert default_first(models, COMPATIBLE) == models


TEXT, IMAGE, AUDIO, FILE = Model.MODALITY_TEXT, Model.MODALITY_IMAGE, Model.MODALITY_AUDIO, Model.MODALITY_FILE


@pytest.mark.parametrize(
    ("vendor", "name", "entry", "modalities"),
    [
        ("openrouter", "m", {"architecture": {"input_modalities": ["text", "image"]}}, [TEXT, IMAGE, FILE]),
        ("openrouter", "m", {"architecture": {"input_modalities": ["text", "hologram"]}}, [TEXT, FILE]),
        ("huggingface", "m", {"architecture": {"input_modalities": ["text"]}}, [TEXT]),
        ("mistral", "m", {"capabilities": {"completion_chat": True, "vision": False}}, [TEXT, FILE]),
        ("mistral", "m", {"capabilities": {"completion_chat": True, "vision": True}}, [TEXT, IMAGE, FILE]),
        # The entry counts more than what was written down.
        ("mistral", "pixtral-12b", {"capabilities": {"vision": False}}, [TEXT, FILE]),
        ("ollama", "m", {"capabilities": ["completion", "tools", "vision"]}, [TEXT, IMAGE]),
        ("ollama", "m", {"capabilities": ["completion"]}, [TEXT]),
        ("ollama", "m", {}, []),
        ("llamacpp", "m", {"capabilities": ["completion", "multimodal"]}, []),
        ("openai", "gpt-4o-mini", {}, [TEXT, IMAGE, FILE]),
        ("openai", "gpt-4o-mini-2024-07-18", {}, [TEXT, IMAGE, FILE]),
        ("openai", "gpt-3.5-turbo", {}, [TEXT]),
        ("openai", "a-model-of-tomorrow", {}, []),
        ("openai", "text-embedding-3-small", {}, []),
        ("vllm", "m", {"capabilities": 7, "architecture": "x"}, []),
    ],
)
def test_what_a_model_reads_comes_from_its_entry_or_from_what_is_known(
    vendor: str, name: str, entry: dict[str, Any], modalities: list[int]
) -> None:
    assert list(model_of(VENDORS[vendor], vendor, name, entry).input_modalities) == modalities


@pytest.mark.parametrize(
    ("vendor", "name", "entry", "thinks"),
    [
        ("openrouter", "m", {"supported_parameters": ["tools", "reasoning"]}, True),
        ("openrouter", "m", {"supported_parameters": ["tools"]}, False),
        ("mistral", "m", {"capabilities": {"completion_chat": True, "reasoning": True}}, True),
        ("ollama", "m", {"capabilities": ["completion", "thinking"]}, True),
        ("deepseek", "deepseek-reasoner", {}, True),
        ("deepseek", "deepseek-chat", {}, False),
        ("openai", "o3", {}, True),
    ],
)
def test_whether_a_model_thinks_comes_from_its_entry_or_from_what_is_known(
    vendor: str, name: str, entry: dict[str, Any], thinks: bool
) -> None:
    capabilities = model_of(VENDORS[vendor], vendor, name, entry).capabilities
    assert (Model.CAPABILITY_REASONING in capabilities) is thinks
