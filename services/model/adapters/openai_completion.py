"""Continues prompts by OpenAI's older method (https://platform.openai.com/docs/api-reference/completions/create)."""

from collections.abc import Mapping
from typing import Any

from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.adapters.answer import Pieces
from services.model.adapters.dialect import renamed
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.openai_request import add_sampling, merge
from services.model.json_text import parse_object
from services.model.vendor import Completions


def completion_body(request: GenerateRequest, model: str, method: Completions) -> dict[str, Any]:
    """The JSON body, in the vendor's form. `provider_params` are added to it; they replace nothing that is there.

    Raises:
        InvalidArgument: `provider_params` are not JSON.
    """
    options = request.options
    body: dict[str, Any] = {"model": model, "prompt": request.messages[0].content}
    if options.completion.suffix:
        body["suffix"] = options.completion.suffix
    if options.completion.echo:
        body["echo"] = True
    if not options.whole:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    add_sampling(body, options.sampling)
    if "top_logprobs" in body:
        body["logprobs"] = body.pop("top_logprobs")
    if options.user:
        body["user"] = options.user
    for name in method.omits:
        body.pop(name, None)
    renamed(body, method.renames)
    if options.provider_params:
        merge(body, parse_object(options.provider_params, "provider_params"))
    return body


class CompletionAnswer(ChatAnswer):
    """Reads one completion. Its choices have a `text`; Mistral's have a message, as those of a chat."""

    def _read_whole(self, found: dict[str, Any]) -> Pieces:
        choices = found.get("choices")
        # An empty text is an answer too: the model may have nothing to add.
        if choices and "text" in choices[0]:
            return self._read(found)
        return super()._read_whole(found)

    def _choice(self, choice: dict[str, Any]) -> Pieces:
        if "text" not in choice:
            return super()._choice(choice)
        logprobs = _as_in_chats(choice.get("logprobs"))
        return super()._choice({**choice, "delta": {"content": choice["text"]}, "logprobs": logprobs})


def _as_in_chats(logprobs: Any) -> Any:
    """The probabilities of a completion's tokens in the form of a chat, which llama.cpp sends here too.

    The first token of a prompt has none, which becomes 0.
    """
    if not isinstance(logprobs, dict) or not isinstance(tokens := logprobs.get("tokens"), list):
        return logprobs
    found, top = logprobs.get("token_logprobs") or (), logprobs.get("top_logprobs") or ()
    return {
        "content": [
            {
                "token": token,
                "logprob": _at(found, place) or 0.0,
                "top_logprobs": _likeliest(_at(top, place)),
            }
            for place, token in enumerate(tokens)
        ]
    }


def _at(values: Any, place: int) -> Any:
    return values[place] if place < len(values) else None


def _likeliest(top: Any) -> list[dict[str, Any]]:
    """The likeliest tokens of a place, likeliest first."""
    if not isinstance(top, Mapping):
        return []
    ordered = sorted(top.items(), key=lambda each: each[1], reverse=True)
    return [{"token": token, "logprob": logprob} for token, logprob in ordered]
