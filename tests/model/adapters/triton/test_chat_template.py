"""Chat templates run in a sandbox, with what templates of models expect."""

from typing import Any

import pytest
from soma.errors.v1 import reasons

from services.mesh.call.errors import InvalidArgument
from services.model.adapters.triton.chat_template import prompt_of

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
    {"role": "assistant", "content": None},
]


def test_parts_are_one_text_and_nothing_is_an_empty_text() -> None:
    assert prompt_of("{% for m in messages %}[{{ m.content }}]{% endfor %}", MESSAGES) == "[one two][]"


def test_it_has_what_templates_use() -> None:
    template = "{{ bos_token }}{{ [1, '<é>'] | tojson }}{{ strftime_now('%Y') | length }}{{ eos_token }}"
    assert prompt_of(template, [], "B", "E") == 'B[1, "<é>"]4E'
    assert prompt_of("{{ add_generation_prompt }}", []) == "True"
    assert prompt_of("{% for x in [1, 2, 3] %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}", []) == "1"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ raise_exception('Only user and assistant roles are supported!') }}", "Only user and assistant"),
        ("{% if %}", "Expected"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ messages.missing.more }}", "no attribute 'missing'"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ messages + 1 }}", "concatenate"),
    ],
)
def test_what_a_template_refuses_or_may_not_do_is_the_error_of_the_request(template: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        prompt_of(template, [{"role": "user", "content": "Hi"}])
    assert refused.value.reason == reasons.PROVIDER_REFUSED_REQUEST
    assert why in refused.value.message
