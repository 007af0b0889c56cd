"""A sampled request is one span, with its model and its usage."""

from typing import Any

import httpx
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.mesh.call.errors import Unavailable
from tests.gateway.edge.conftest import KEY, standing

ASK: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADERS = {"authorization": f"Bearer {KEY}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


async def test_a_sampled_request_is_a_span_with_http_and_genai_attributes(redis_url: str) -> None:
    exporter = InMemorySpanExporter()
    async with (
        standing("local", redis_url, exporter) as stand,
        httpx.AsyncClient(base_url=stand.url, headers=HEADERS) as http,
    ):
        await http.post("/v1/chat/completions", json=ASK)
        stand.chat.script = [Unavailable("away")]
        await http.post("/v1/chat/completions", json=ASK)
    spans = [span for span in exporter.get_finished_spans() if span.name == "POST /v1/chat/completions"]
    assert all(f"{span.context.trace_id:032x}" == TRACE for span in spans)
    whole, failed = (dict(span.attributes or {}) for span in spans)
    assert whole == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "plain",
        "gen_ai.response.model": "plain",
        "gen_ai.response.id": "t1",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 2,
    }
    assert (failed["http.response.status_code"], failed["error.type"]) == (503, "503")
    turns = [span for span in exporter.get_finished_spans() if span.name.endswith("ChatService/Chat")]
    assert [turn.parent.span_id for turn in turns if turn.parent] == [span.context.span_id for span in spans]
