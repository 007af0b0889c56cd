"""Writes a conversation as the prompt that a model was trained on, by its chat template.

A template is a Jinja program, as `tokenizer_config.json` and `chat_template.jinja` of a model have it. It runs in
Jinja's sandbox, with the functions that templates of Hugging Face's models expect.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from soma.errors.v1 import reasons

from services.mesh.call.errors import InvalidArgument

_LONGEST = 2000


def prompt_of(template: str, messages: Sequence[Mapping[str, Any]], bos: str = "", eos: str = "") -> str:
    """The prompt for a conversation.

    Args:
        template: the Jinja program.
        messages: `role` and `content` of each message, as OpenAI has them; texts only.
        bos: the text before a conversation. Servers add that token to each prompt, so it is usually empty.
        eos: the text after an answer.

    Raises:
        InvalidArgument: the template refuses the conversation, or is no template.
    """
    try:
        return _compiled(template).render(
            messages=[_plain(message) for message in messages],
            add_generation_prompt=True,
            bos_token=bos,
            eos_token=eos,
        )
    # Templates are programs of others: an operation on a value of another type is not an error of ours.
    except (TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        why = f"the chat template of the model refuses the conversation: {str(error)[:_LONGEST]}"
        raise InvalidArgument(why, reason=reasons.PROVIDER_REFUSED_REQUEST) from error


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its content as one text: most templates read no parts."""
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content)
    return {**message, "content": content or ""}


@lru_cache(maxsize=32)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
    return environment.from_string(template)


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter writes quotes for HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)
