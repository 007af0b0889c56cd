"""Services of which the client's tests need one answer each, with every field set that a client reads."""

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from soma.model.v1 import catalog_service_pb2 as catalog
from soma.model.v1 import cost_service_pb2 as cost
from soma.model.v1 import message_pb2 as model
from soma.model.v1 import model_service_pb2 as generation
from soma.orchestrator.v1 import response_service_pb2 as responses
from soma.policy.v1 import policy_service_pb2 as policy
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceServicer

from tests.fakes.chat import USAGE
from tests.fakes.embedder import FakeEmbedder
from tests.fakes.responses import Step, answered

NOW = Timestamp(seconds=1_700_000_000)
PLAIN = catalog.Model(
    name="plain",
    provider="local",
    available=True,
    default=True,
    capabilities=[catalog.Model.CAPABILITY_CHAT, catalog.Model.CAPABILITY_TOOLS],
    context_window=4096,
    input_modalities=[catalog.Model.MODALITY_TEXT, catalog.Model.MODALITY_IMAGE],
)
RECORDS = [
    cost.UsageRecord(
        generation_id=f"g{number}",
        model="plain",
        provider="local",
        outcome=cost.UsageRecord.OUTCOME_FINISHED,
        usage=model.Usage(total_tokens=number),
        conversation_id="c1",
        start_time=NOW,
    )
    for number in (1, 2, 3)
]


def said_and_asked() -> list[Step]:
    """A whole response that says `Hello, world` and asks for a tool call."""
    events = answered("Hello", ", world", item_id="msg_0")
    call = responses.ResponseItem(
        item_id="fc_1", tool_call=model.ToolCall(call_id="call_a", name="look_up", arguments="{}")
    )
    last = events[-1].finished
    last.finish_reason = model.FINISH_REASON_TOOL_CALLS
    last.end_time.CopyFrom(NOW)
    last.output[0].text.logprobs.add(token="Hello", logprob=-0.5).top.add(token="Hi", logprob=-1)
    last.output.append(call)
    last.sources.add(key="fact/1")
    last.dropped_params.append("top_k")
    begun = responses.ResponseItem(item_id="fc_1", tool_call=model.ToolCall(call_id="call_a", name="look_up"))
    event, of_item = responses.CreateResponseResponse, responses.ResponseItemEvent
    asked = [
        event(item_begun=of_item(output_index=1, item=begun)),
        event(arguments=responses.ResponseArgumentsDelta(output_index=1, arguments="{}")),
        event(item_done=of_item(output_index=1, item=call)),
    ]
    return [*events[:-1], *asked, events[-1]]


class OneModel(FakeEmbedder):
    """Says `Hello`, goes on with ` and on`, embeds a text as its length, and counts each character as a token."""

    def __init__(self) -> None:
        super().__init__("vectors", lambda text, _: (len(text), 0.5))

    async def Generate(
        self, request: generation.GenerateRequest, context: Any
    ) -> AsyncIterator[generation.GenerateResponse]:
        started = generation.GenerationStarted(generation_id="g1", model="plain", provider="local")
        yield generation.GenerateResponse(started=started)
        yield generation.GenerateResponse(delta=model.Delta(text="Hello"))
        finished = generation.GenerationFinished(finish_reason=model.FINISH_REASON_LENGTH, usage=USAGE)
        yield generation.GenerateResponse(finished=finished)

    async def Infer(self, request: generation.InferRequest, context: Any) -> generation.InferResponse:
        return generation.InferResponse(
            model="plain", completion=" and on", usage=USAGE, finish_reason="stop", latency_ms=250
        )

    async def CountTokens(self, request: generation.CountTokensRequest, context: Any) -> generation.CountTokensResponse:
        tokens = sum(len(message.content) for message in request.messages)
        return generation.CountTokensResponse(model="plain", provider="local", input_tokens=tokens, estimated=True)


class OneRule(PolicyServiceServicer):
    """Finds an address wherever it looks."""

    async def Evaluate(self, request: policy.EvaluateRequest, context: Any) -> policy.EvaluateResponse:
        rule = policy.MatchedRule(rule_id="pii.email", decision=policy.DECISION_REDACT, reason="an address")
        return policy.EvaluateResponse(
            decision=policy.DECISION_REDACT,
            matched_rules=[rule],
            findings=[policy.Finding(kind="email", start=3, end=8, rule_id="pii.email")],
            redacted_content="to [email]",
            risk=0.5,
            rules_version="abc",
        )
