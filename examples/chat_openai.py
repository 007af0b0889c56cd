"""The same mesh with OpenAI's own client; only its base URL is changed.

OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=… python examples/chat_openai.py
"""

from openai import OpenAI


def main() -> None:
    """List the models, then stream an answer of the first one."""
    with OpenAI() as client:
        model = client.models.list().data[0].id
        print(f"> Hello from OpenAI's client ({model})")
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Hello from OpenAI's client"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
            elif chunk.usage:
                print(f"\n  ({chunk.usage.total_tokens} tokens)")


if __name__ == "__main__":
    main()
