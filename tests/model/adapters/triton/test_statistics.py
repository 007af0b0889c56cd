"""Triton's counts are among the metrics of the process, and gone with it."""

from prometheus_client import CollectorRegistry

from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.statistics import Statistics
from services.model.adapters.triton.vectors import vectors


async def test_the_counts_of_a_model_grow_with_its_requests(server: Server) -> None:
    registry = CollectorRegistry()
    statistics = Statistics(server)
    registry.register(statistics)

    async def count(name: str) -> float:
        await statistics.read()
        return registry.get_sample_value(f"soma_triton_{name}_total", {"model": "odd"}) or 0.0

    inputs, runs, failures = [await count(name) for name in ("inferences", "executions", "failures")]
    await vectors(server, "odd", ["4", "4", "4"], 8, 30.0)
    assert await count("inferences") == inputs + 3
    assert await count("executions") == runs + 1
    assert await count("failures") == failures


async def test_a_server_that_is_away_has_no_counts() -> None:
    statistics = Statistics(Server(TritonSettings(url="grpc://127.0.0.1:1")))
    await statistics.read()
    assert not [sample for family in statistics.collect() for sample in family.samples]
