"""A lookup with FastAPI and asyncpg: a row by its key, as JSON, without authentication and without metrics.

It runs in its own environment, and finds the database by the variables of Postgres's own programs.

    python -P bench/lookup_app.py PORT
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException, Request

FIND = (
    "SELECT key, facets, created_at, accessed_count, last_accessed FROM memory.fact WHERE tenant_id = $1 AND key = $2"
)


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[None]:
    """A pool with as many connections as a serve process has."""
    async with asyncpg.create_pool(min_size=1, max_size=20) as app.state.pool:
        yield


async def recall(key: str, request: Request) -> dict[str, Any]:
    """One row."""
    row = await request.app.state.pool.fetchrow(FIND, "default", key)
    if row is None:
        raise HTTPException(404)
    return {**row, "facets": json.loads(row["facets"])}


if __name__ == "__main__":
    application = FastAPI(lifespan=database)
    application.add_api_route("/v1/recall/{key:path}", recall)
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
