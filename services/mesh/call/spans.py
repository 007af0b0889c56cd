"""Recorded spans, by OpenTelemetry's SDK, which is loaded only when a trace is sampled."""

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from services.mesh.call.call import current_call
from services.mesh.call.trace import Trace

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Makes the spans of one process; they are sent to an OTLP endpoint, if there is one."""

    def __init__(self, service_name: str, endpoint: str | None, exporter: Any = None) -> None:
        self._service_name = service_name
        self._endpoint = endpoint
        self._exporter = exporter
        self._tracer: otel.Tracer | None = None
        self._provider: Any = None

    def start(self, name: str, parent: Trace, kind: SpanKind, attributes: Mapping[str, str | int | float]) -> Span:
        """Start a span under `parent`, which must be sampled."""
        if self._tracer is None:
            self._tracer = self._build()
        remote = NonRecordingSpan(SpanContext(parent.trace_id, parent.span_id, True, _SAMPLED))
        return self._tracer.start_span(
            name, context=otel.set_span_in_context(remote), kind=kind, attributes=dict(attributes)
        )

    def close(self) -> None:
        """Flush what was recorded."""
        if self._provider is not None:
            self._provider.shutdown()

    def _build(self) -> otel.Tracer:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource({"service.name": self._service_name}), shutdown_on_exit=False)
        exporter = self._exporter
        if exporter is None and self._endpoint:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=_traces(self._endpoint))
        if exporter is not None:
            provider.add_span_processor(BatchSpanProcessor(exporter))
        self._provider = provider
        return provider.get_tracer("somamesh")


def _traces(endpoint: str) -> str:
    """The URL that spans are sent to: a setting gives the collector's address, with or without the path of traces."""
    address, separator, query = endpoint.partition("?")
    return f"{address.removesuffix('/v1/traces')}/v1/traces{separator}{query}"


def annotate(**attributes: str | int | float) -> None:
    """Put attributes on the current call's span, if it is recorded; dots are written as double underscores."""
    call = current_call()
    if call is not None and call.span is not None:
        for name, value in attributes.items():
            call.span.set_attribute(name.replace("__", "."), value)
