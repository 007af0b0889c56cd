"""A remembered conversation over native gRPC, with SomaMesh's own client.

SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… python examples/chat_somamesh.py
"""

import uuid

from somamesh import APIError, Client


def main() -> None:
    """Send a message, stream the answer, and ask again in the same conversation."""
    conversation = f"example-{uuid.uuid4().hex[:8]}"
    with Client() as soma:
        try:
            for text in ("My cat is called Ada.", "What is my cat called?"):
                print(f"> {text}")
                with soma.stream_completion(conversation, text) as answer:
                    for piece in answer:
                        print(piece, end="", flush=True)
                    whole = answer.answer()
                print(f"\n  ({whole.model}, {whole.usage.total_tokens} tokens)\n")
        except APIError as error:
            raise SystemExit(f"{error.reason}: {error.message} (request {error.request_id})") from error


if __name__ == "__main__":
    main()
