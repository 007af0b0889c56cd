"""Stores facts and finds them by meaning, with SomaMesh's client for asyncio.

SOMA_API_URL=http://127.0.0.1:8080 SOMA_API_KEY=… python examples/memory_somamesh.py
"""

import asyncio

from somamesh import APIError, AsyncClient

FACTS = {
    "pricing": "The basic plan is free for 1000 requests a month.",
    "limits": "The basic plan allows 10 requests a minute.",
    "support": "Support answers within one working day.",
}


async def main() -> None:
    """Store three facts, then search for one with other words."""
    async with AsyncClient() as soma:
        try:
            await asyncio.gather(
                *(soma.remember(f"faq/{name}", fact, metadata={"kind": "faq"}) for name, fact in FACTS.items())
            )
            found = await soma.retrieve("How long until somebody helps me?", top_k=1, score_threshold=0.2)
            for memory in found:
                print(f"{memory.key}: {memory.value}")
        except APIError as error:
            raise SystemExit(f"{error.reason}: {error.message} (request {error.request_id})") from error


if __name__ == "__main__":
    asyncio.run(main())
