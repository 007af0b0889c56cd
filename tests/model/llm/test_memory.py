"""The memory that a model needs, what is free, and models that do not fit."""

from pathlib import Path

import psutil
import pytest

from services.model.llm.engine import EngineSettings
from services.model.llm.gguf import read
from services.model.llm.loaded import Refused, require_fitting
from services.model.llm.memory import context_of, free_bytes, needed_bytes
from tests.model.llm.made import smollm2, sparse

MIB = 1024 * 1024


def test_the_context_takes_memory_in_each_slot_and_is_not_larger_than_the_model_was_trained_for() -> None:
    facts = read(smollm2())
    one, two = needed_bytes(facts, 4096, 1), needed_bytes(facts, 4096, 2)
    assert two - one == 4096 * 23040
    assert context_of(facts, 100_000) == 8192
    assert needed_bytes(facts, 100_000, 1) == needed_bytes(facts, 8192, 1)


def test_a_file_larger_than_the_free_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.gguf"
    sparse(path, 1 << 42)
    facts = read(path)
    assert facts.size > 1 << 42
    with pytest.raises(Refused, match=r"`huge` needs about 4\d+ MiB of memory .* and 1000 MiB are free") as refused:
        require_fitting("huge", facts, EngineSettings(), 1000 * MIB)
    assert (refused.value.status, refused.value.reason) == (507, "MODEL_TOO_LARGE")
    require_fitting("small", read(smollm2()), EngineSettings(), 1000 * MIB)


def test_a_container_has_less_than_its_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{100 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{70 * MIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {20 * MIB}\n")
    assert free_bytes(tmp_path) == 50 * MIB
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.5)
    (tmp_path / "memory.max").write_text(f"{10 * MIB}\n")
    assert free_bytes(tmp_path) == 0


def test_the_mesh_keeps_a_processor() -> None:
    assert EngineSettings(threads=5).computing == 5
    assert 1 <= EngineSettings().computing <= max(1, (psutil.cpu_count() or 1) - 1)
