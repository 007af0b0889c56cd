"""Adds a request to its trace, and records a span if the trace is sampled.

Attribute names are those of OpenTelemetry's HTTP semantic conventions.
"""

from opentelemetry.trace import SpanKind, StatusCode

from services.mesh.call.call import Call
from services.mesh.call.spans import Spans
from services.mesh.call.trace import Trace, new_trace, parse


class RequestTracing:
    """Begins and ends the trace of each request; the calls that the request makes continue the trace."""

    def __init__(self, spans: Spans, sample_ratio: float) -> None:
        self._spans = spans
        self._sample_ratio = sample_ratio

    def begin(self, call: Call, traceparent: bytes | None, method: str, route: str) -> None:
        """Continue the client's trace, or start one."""
        parent = parse(traceparent.decode("latin-1")) if traceparent is not None else None
        call.trace = parent or new_trace(self._sample_ratio)
        if call.trace.sampled:
            attributes = {"http.request.method": method, "http.route": route}
            call.span = self._spans.start(f"{method} {route}", call.trace, SpanKind.SERVER, attributes)
            call.trace = Trace(call.trace.trace_id, call.span.get_span_context().span_id, True)

    @staticmethod
    def end(call: Call, status: int) -> None:
        """Close the request's span, if it is recorded."""
        if call.span is None:
            return
        call.span.set_attribute("http.response.status_code", status)
        if status >= 500:
            call.span.set_status(StatusCode.ERROR)
            call.span.set_attribute("error.type", str(status))
        call.span.end()
