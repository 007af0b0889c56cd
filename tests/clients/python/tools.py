"""LiteLLM and LlamaIndex: pictures, tools with thoughts, and streams. It runs in an environment of its own.

Its argument is JSON: the URL and the key of the API, the client, the models, which of them see, whether answers are
streamed, the picture, and the questions. It prints the answers of each model as JSON.
"""

import base64
import json
import sys
from collections.abc import Callable
from typing import Any


def look(place: str) -> str:
    """The weather of a place."""
    return f"The weather of {place}."


def litellm_chat(model: str, given: dict[str, Any]) -> list[str]:
    """LiteLLM's completions."""
    import litellm  # type: ignore[import-not-found]

    # It would be printed among the answers.
    litellm.suppress_debug_info = True
    tool = {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        },
    }

    def say(messages: list[Any]) -> Any:
        answer = litellm.completion(
            model=f"openai/{model}",
            api_base=given["url"],
            api_key=given["key"],
            messages=messages,
            tools=[tool],
            reasoning_effort="high",
            # It does not know that the model thinks.
            allowed_openai_params=["reasoning_effort"],
            stream=given["streamed"],
            max_retries=0,
        )
        whole = litellm.stream_chunk_builder(list(answer), messages=messages) if given["streamed"] else answer
        return whole.choices[0].message

    answers = []
    if model in given["seeing"]:
        url = {"url": f"data:image/png;base64,{given['picture']}"}
        parts = [{"type": "text", "text": given["showing"]}, {"type": "image_url", "image_url": url}]
        answers.append(say([{"role": "user", "content": parts}]).content)
    messages: list[Any] = []
    for question in given["questions"]:
        messages.append({"role": "user", "content": question})
        while (message := say(messages)).tool_calls:
            messages.append(message)
            for call in message.tool_calls:
                result = look(**json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        messages.append(message)
        answers.append(message.content)
    return answers


def llamaindex_chat(model: str, given: dict[str, Any]) -> list[str]:
    """LlamaIndex's client for servers like OpenAI's."""
    from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-not-found]

    return _llamaindex(
        OpenAILike(
            model=model,
            api_base=given["url"],
            api_key=given["key"],
            is_chat_model=True,
            is_function_calling_model=True,
            context_window=128_000,
            # Its default is refused by models of Anthropic that think.
            temperature=1.0,
            max_retries=0,
            additional_kwargs={"reasoning_effort": "high"},
        ),
        model,
        given,
    )


def llamaindex_responses(model: str, given: dict[str, Any]) -> list[str]:
    """LlamaIndex's client of responses."""
    from llama_index.llms.openai import OpenAIResponses  # type: ignore[import-not-found]

    return _llamaindex(
        OpenAIResponses(
            model=model,
            api_base=given["url"],
            api_key=given["key"],
            context_window=128_000,
            # Its default is refused by models of Anthropic that think.
            temperature=1.0,
            max_retries=0,
            # It sends thoughts back only if responses are stored.
            store=True,
            additional_kwargs={"reasoning": {"effort": "high"}},
        ),
        model,
        given,
    )


def _llamaindex(llm: Any, model: str, given: dict[str, Any]) -> list[str]:
    from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock  # type: ignore[import-not-found]
    from llama_index.core.tools import FunctionTool  # type: ignore[import-not-found]

    tool = FunctionTool.from_defaults(look)

    def say(history: list[Any]) -> Any:
        if given["streamed"]:
            stream = llm.stream_chat_with_tools([tool], chat_history=history, allow_parallel_tool_calls=True)
            return list(stream)[-1]
        return llm.chat_with_tools([tool], chat_history=history, allow_parallel_tool_calls=True)

    answers = []
    if model in given["seeing"]:
        blocks = [TextBlock(text=given["showing"]), ImageBlock(image=base64.b64decode(given["picture"]))]
        answers.append(say([ChatMessage(role="user", blocks=blocks)]).message.content)
    history: list[Any] = []
    for question in given["questions"]:
        history.append(ChatMessage(role="user", content=question))
        answer = say(history)
        while calls := llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False):
            history.append(answer.message)
            for call in calls:
                said = {"tool_call_id": call.tool_id}
                history.append(ChatMessage(role="tool", content=look(**call.tool_kwargs), additional_kwargs=said))
            answer = say(history)
        history.append(answer.message)
        answers.append(answer.message.content)
    return answers


CLIENTS: dict[str, Callable[[str, dict[str, Any]], list[str]]] = {
    "litellm chat": litellm_chat,
    "llamaindex chat": llamaindex_chat,
    "llamaindex responses": llamaindex_responses,
}

if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps([CLIENTS[asked["client"]](model, asked) for model in asked["models"]]) + "\n")
