"""Builds the calls of PolicyService; generated from soma/policy/v1/policy_service.proto."""

from collections.abc import Mapping, Sequence
from typing import Any

from soma.identity.v1 import principal_pb2
from soma.policy.v1 import policy_service_pb2 as pb

from somamesh import policies
from somamesh.calls import Call, unary
from somamesh.json_values import to_struct


def evaluate_policy(
    action: str,
    *,
    principal: principal_pb2.Principal | None = None,
    resource: str = "",
    content: str = "",
    contents: Sequence[str] = (),
    context: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Call[policies.Verdict]:
    """Decides on one action and its texts.

    Args:
        action: The action, as `noun.verb`, such as `chat.input`, `chat.output`, `tool.execute`.
        principal: Who acts; the caller when unset. To ask for another principal needs the scope `evaluate:any`.
        resource: What the action is done to, such as `model:soma-extract-v1`; may be empty.
        content: Text to inspect; may be empty.
        contents: Further texts to inspect, such as the parts of a message. One decision covers all texts.
        context: Further facts. A rule may require that the fact at a path through these objects has certain
            values.
    """
    request = pb.EvaluateRequest(
        action=action,
        principal=principal,
        resource=resource,
        content=content,
        contents=contents,
        context=to_struct(context) if context else None,
    )
    return unary(
        lambda mesh: mesh.policy_service.Evaluate, request, policies.from_evaluate, repeatable=True, timeout=timeout
    )
