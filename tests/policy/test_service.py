"""PolicyService through the whole pipeline: decisions, other principals, and a rule file that changes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
import redis.asyncio as aioredis
from soma.identity.v1 import principal_pb2
from soma.policy.v1 import policy_service_pb2 as pb
from soma.policy.v1.policy_service_pb2_grpc import PolicyServiceStub
from structlog.testing import capture_logs

from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.hosted import hosted
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from services.policy.main import SERVICE
from services.policy.rulefile import DEFAULT, load
from services.policy.settings import PolicySettings

DENY_WORD = '[[rule]]\nid = "word"\npattern = "zebra"\ndecision = "deny"\nreason = "no zebras"\n'


@dataclass(frozen=True)
class Policy:
    """A policy service over one rule file, built for each question."""

    path: Path
    redis: aioredis.Redis

    async def ask(self, request: pb.EvaluateRequest, principal: Principal = SOMEBODY) -> pb.EvaluateResponse:
        """Ask as a principal."""
        async with hosted(SERVICE, settings=PolicySettings(rules=self.path), redis=self.redis) as policy:
            with run_as(principal, timeout=5):
                response: pb.EvaluateResponse = await PolicyServiceStub(policy.channel).Evaluate(request)
                return response


PolicyOf: TypeAlias = Callable[[Path], Policy]


@pytest.fixture
def policy_of(redis: aioredis.Redis) -> PolicyOf:
    """Makes a policy service of a rule file."""
    return partial(Policy, redis=redis)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A rule file with one rule."""
    file = tmp_path / "rules.toml"
    file.write_text(DENY_WORD)
    return file


async def test_the_default_rules_redact_a_payment_card(policy_of: PolicyOf) -> None:
    answer = await policy_of(DEFAULT).ask(pb.EvaluateRequest(action="chat.input", content="use 4111 1111 1111 1111 ok"))
    assert answer.decision == pb.DECISION_REDACT
    assert answer.redacted_content == "use [REDACTED_PAYMENT_CARD] ok"
    finding = answer.findings[0]
    assert (finding.kind, finding.start, finding.end, finding.rule_id) == ("payment_card", 4, 23, "payment-card")
    assert answer.rules_version == load(DEFAULT).version


@pytest.mark.parametrize("content", ["", "card 4111 1111 1111 1111"])
async def test_several_texts_are_decided_on_together(content: str, policy_of: PolicyOf) -> None:
    texts = ["fine", "use 4111 1111 1111 1111 ok"]
    answer = await policy_of(DEFAULT).ask(pb.EvaluateRequest(action="chat.input", content=content, contents=texts))
    assert answer.decision == pb.DECISION_REDACT
    assert list(answer.redacted_contents) == ["fine", "use [REDACTED_PAYMENT_CARD] ok"]
    assert answer.redacted_content == ("card [REDACTED_PAYMENT_CARD]" if content else "")
    # The positions count from `content` when it is set.
    assert [finding.content_index for finding in answer.findings] == ([0, 2] if content else [1])
    assert [finding.start for finding in answer.findings][-1] == 4


async def test_a_decision_that_holds_for_any_text_says_so(path: Path, policy_of: PolicyOf) -> None:
    path.write_text(DENY_WORD + 'actions = ["chat.input"]\n')
    allowed = await policy_of(path).ask(pb.EvaluateRequest(action="chat.output", contents=["a zebra"]))
    assert (allowed.decision, allowed.unconditional) == (pb.DECISION_ALLOW, True)
    allowed = await policy_of(path).ask(pb.EvaluateRequest(action="chat.input", contents=["a gnu"]))
    assert (allowed.decision, allowed.unconditional) == (pb.DECISION_ALLOW, False)


async def test_a_denial_names_the_rule_and_its_reason(path: Path, policy_of: PolicyOf) -> None:
    answer = await policy_of(path).ask(pb.EvaluateRequest(action="chat.input", content="a zebra"))
    assert answer.decision == pb.DECISION_DENY
    assert [(r.rule_id, r.reason) for r in answer.matched_rules] == [("word", "no zebras")]


async def test_a_changed_file_is_loaded_and_a_wrong_one_is_not(path: Path, redis: aioredis.Redis) -> None:
    question = pb.EvaluateRequest(action="chat.input", content="a zebra and a gnu")
    settings = PolicySettings(rules=path, reload_seconds=0.01)
    with capture_logs() as logs:
        async with hosted(SERVICE, settings=settings, redis=redis, caller=SOMEBODY) as service:
            policy = PolicyServiceStub(service.channel)
            before = await policy.Evaluate(question)
            path.write_text(DENY_WORD.replace("zebra", "gnu") + "# longer\n")

            async def taken() -> bool:
                return (await policy.Evaluate(question)).rules_version != before.rules_version

            await until(taken)
            changed = await policy.Evaluate(question)
            path.write_text("[[rule]]\nid = 3\n")

            async def complaints() -> list[str]:
                return [entry["error"] for entry in logs if entry["log_level"] == "error"]

            await until(complaints)
            assert (await policy.Evaluate(question)).rules_version == changed.rules_version
    (complaint,) = await complaints()
    assert "`id` is a text" in complaint


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[rule]]\ndecision = 'deny'\n", "`id` is missing"),
        ("[[rule]]\nid='a'\ndecision='perhaps'\n", "`decision` is one of allow, redact, require_approval, deny"),
        ("[[rule]]\nid='a'\ndecision='deny'\npattern='('\n", "not a regular expression"),
        ("[[rule]]\nid='a'\ndecision='redact'\n", "needs `detect` or `pattern`"),
        ("[[rule]]\nid='a'\ndecision='deny'\ndetect='smell'\n", "no detector 'smell'"),
        ("[[rule]]\nid='a'\ndecision='deny'\nactoins=['x']\n", "unknown key 'actoins'"),
        ("[[rule]]\nid='a'\ndecision='deny'\nrisk=2\n", "`risk` is a number from 0 to 1"),
        ("[[rule]]\nid='a'\ndecision='deny'\n[[rule]]\nid='a'\ndecision='deny'\n", "two rules have the id 'a'"),
        ("[[rule\n", "rules.toml"),
        ("[[rules]]\nid='a'\ndecision='deny'\n", "holds [[rule]] tables and nothing else"),
        ("rule = 1\n", "holds [[rule]] tables and nothing else"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen='x'\n", "`when` is a table"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x=[]}\n", "`when.x` is a text"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x=['a', []]}\n", "`when.x` is a text"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x=nan}\n", "`when.x` is a text"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x=9007199254740993}\n", "at most 2^53"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x=2026-01-01}\n", "`when.x` is a text"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={x.y={z=[]}}\n", "`when.x.y.z` is a text"),
        ("[[rule]]\nid='a'\ndecision='deny'\nwhen={'x..y'=1}\n", "an empty name"),
    ],
)
def test_a_wrong_rule_file_stops_the_start_and_names_the_mistake(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(errors.FailedPrecondition) as refused:
        load(file)
    assert complaint in refused.value.message
    assert refused.value.reason == "RULES_INVALID"


FREE = '[[rule]]\nid="a"\ndecision="deny"\nwhen={"user.tier"="free", "n"=[1, 2.5]}\n'


@pytest.mark.parametrize(
    ("context", "decision"),
    [
        ({"user": {"tier": "free"}, "n": 1}, pb.DECISION_DENY),
        ({"user": {"tier": "free", "name": "sam"}, "n": 2.5, "more": [1]}, pb.DECISION_DENY),
        ({"user": {"tier": "paid"}, "n": 1}, pb.DECISION_ALLOW),
        ({"user": {"tier": "free"}, "n": True}, pb.DECISION_ALLOW),
        ({"user": {"tier": "free"}, "n": "1"}, pb.DECISION_ALLOW),
        ({"user": {"tier": ["free"]}, "n": 1}, pb.DECISION_ALLOW),
        ({"user": "free", "n": 1}, pb.DECISION_ALLOW),
        ({"user.tier": "free", "n": 1}, pb.DECISION_ALLOW),
        ({"user": {"tier": None}, "n": 1}, pb.DECISION_ALLOW),
        ({}, pb.DECISION_ALLOW),
    ],
)
async def test_a_rule_applies_if_the_context_meets_all_its_conditions(
    path: Path, context: dict[str, Any], decision: pb.Decision.ValueType, policy_of: PolicyOf
) -> None:
    path.write_text(FREE)
    request = pb.EvaluateRequest(action="tool.execute")
    request.context.update(context)
    assert (await policy_of(path).ask(request)).decision == decision


async def test_without_a_context_a_rule_with_conditions_does_not_apply(path: Path, policy_of: PolicyOf) -> None:
    path.write_text(FREE)
    assert (await policy_of(path).ask(pb.EvaluateRequest(action="tool.execute"))).decision == pb.DECISION_ALLOW


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_a_context_that_is_not_json_is_refused(path: Path, number: float, policy_of: PolicyOf) -> None:
    request = pb.EvaluateRequest(action="tool.execute")
    request.context.update({"n": number})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await policy_of(path).ask(request)
    assert from_rpc_error(refused.value).facts.violations[0].field == "context"


def test_a_byte_order_mark_before_the_rules_is_ignored(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + DENY_WORD.encode())
    assert [rule.id for rule in load(path).rules] == ["word"]


async def test_only_a_caller_with_the_scope_may_ask_for_another_principal(path: Path, policy_of: PolicyOf) -> None:
    policy = policy_of(path)
    other = principal_pb2.Principal(tenant_id="acme", subject="sam")
    request = pb.EvaluateRequest(action="chat.input", principal=other)
    limited = Principal("acme", "alex", scopes=frozenset({"evaluate:policy"}))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await policy.ask(request, limited)
    assert from_rpc_error(refused.value).facts.metadata["scope"] == "evaluate:any"
    assert (await policy.ask(request)).decision == pb.DECISION_ALLOW


async def test_another_tenants_principal_is_refused_to_everyone(path: Path, policy_of: PolicyOf) -> None:
    request = pb.EvaluateRequest(
        action="chat.input", principal=principal_pb2.Principal(tenant_id="other", subject="sam")
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await policy_of(path).ask(request)
    assert from_rpc_error(refused.value).reason == "TENANT_MISMATCH"
