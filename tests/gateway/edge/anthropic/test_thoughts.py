"""Thoughts that go to a client and come back: those that a provider signed, and those with a signature of ours."""

import pytest
from soma.model.v1.message_pb2 import Reasoning

from gateway.edge.anthropic.thoughts import PURPOSE, Thoughts
from services.mesh.call.errors import InvalidArgument
from services.mesh.call.seal import Seal
from services.mesh.testing.local import INTERNAL_KEY

THOUGHTS = Thoughts(Seal(INTERNAL_KEY, PURPOSE))
PLACE = '{"after_characters":3,"after_calls":1}'


def test_what_anthropic_signed_is_not_changed() -> None:
    signed = Reasoning(text="Hm.", signature="sig", provider="anthropic", details=PLACE)
    assert THOUGHTS.signature(signed) == "sig"
    assert THOUGHTS.opened("Hm.", "sig", "x") == Reasoning(text="Hm.", signature="sig")
    sealed = Reasoning(redacted="AAAA", provider="anthropic", details=PLACE)
    assert THOUGHTS.data(sealed) == "AAAA"
    assert THOUGHTS.opened_data("AAAA", "x") == Reasoning(redacted="AAAA")


@pytest.mark.parametrize(
    "thought",
    [
        Reasoning(text="Hm. 🌍", provider="deepseek"),
        Reasoning(text="Hm.", signature="sig", provider="openrouter", details='{"format":"x"}'),
        Reasoning(text="Hm.", redacted="AAAA", provider="openrouter"),
        Reasoning(text="", signature="", provider="vllm"),
    ],
)
def test_other_thoughts_come_back_whole(thought: Reasoning) -> None:
    signature = THOUGHTS.signature(thought)
    assert THOUGHTS.opened(thought.text, signature, "x") == thought


def test_a_thought_that_cannot_be_read_comes_back_whole() -> None:
    thought = Reasoning(redacted="AAAA", provider="openrouter", details='{"type":"reasoning.encrypted"}')
    assert THOUGHTS.opened_data(THOUGHTS.data(thought), "x") == thought


def test_an_altered_thought_is_refused() -> None:
    signature = THOUGHTS.signature(Reasoning(text="Hm.", provider="deepseek"))
    altered = [
        ("Hm!", signature),
        ("Hm.", signature[:-8] + "AAAAAAA="),
        ("Hm.", "soma1."),
        ("Hm.", "soma1.???"),
        ("Hm.", Thoughts(Seal(b"another internal key of 32 bytes!", PURPOSE)).signature(Reasoning(text="Hm."))),
        ("Hm.", Thoughts(Seal(INTERNAL_KEY, "another purpose")).signature(Reasoning(text="Hm."))),
    ]
    for text, changed in altered:
        with pytest.raises(InvalidArgument, match=r"messages\.1: Invalid `signature` in `thinking` block"):
            THOUGHTS.opened(text, changed, "messages.1")
