"""Metrics of generations, for Prometheus."""

from functools import lru_cache

from prometheus_client import Counter, Histogram
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.mesh.call.spans import annotate
from services.model.catalogue import Route

_GENERATIONS = Counter(
    "soma_model_generations_total", "Generations, by how they ended", ("model", "provider", "outcome")
)
_TOKENS = Counter("soma_model_tokens_total", "Tokens of finished generations", ("model", "provider", "direction"))
_FIRST_TOKEN = Histogram(
    "soma_model_time_to_first_token_seconds",
    "From the request to the first token",
    ("provider",),
    buckets=(0.001, 0.005, 0.02, 0.1, 0.3, 1, 3, 10, 30),
)
# Cached, because the look-up of a series by its labels costs more than counting.
_generations = lru_cache(1024)(_GENERATIONS.labels)
_tokens = lru_cache(1024)(_TOKENS.labels)
_first_token = lru_cache(256)(_FIRST_TOKEN.labels)


def record_end(route: Route, outcome: str, finished: GenerationFinished | None = None) -> None:
    """Count a generation that has ended, and annotate the span of its call (with OpenTelemetry's GenAI names)."""
    model, provider = route.model.name, route.provider.name
    _generations(model, provider, outcome).inc()
    annotate(gen_ai__operation__name="chat", gen_ai__request__model=model, gen_ai__provider__name=provider)
    if finished is None:
        return
    _tokens(model, provider, "prompt").inc(finished.usage.prompt_tokens)
    _tokens(model, provider, "completion").inc(finished.usage.completion_tokens)
    _first_token(provider).observe(finished.time_to_first_token_seconds)
    annotate(
        gen_ai__usage__input_tokens=finished.usage.prompt_tokens,
        gen_ai__usage__output_tokens=finished.usage.completion_tokens,
    )


def record_call(route: Route, operation: str, outcome: str) -> None:
    """Count a call of another method than chat, and annotate the span of its call."""
    model, provider = route.model.name, route.provider.name
    _generations(model, provider, outcome).inc()
    annotate(gen_ai__operation__name=operation, gen_ai__request__model=model, gen_ai__provider__name=provider)
