"""The memory that a model needs, and the memory that is free."""

from pathlib import Path

import psutil

from services.model.llm.gguf import Facts

# For the program itself and its buffers: measured with SmolLM2, plus a share of the weights for larger models.
_PROGRAM_BYTES = 160 * 1024 * 1024
_BUFFERS_SHARE = 0.05
# Limits of a container, and what it uses (cgroup v2).
_GROUP = Path("/sys/fs/cgroup")


def needed_bytes(facts: Facts, context: int, slots: int) -> int:
    """An estimate for a model with its context: weights, keys and values, and buffers."""
    tokens = context_of(facts, context) * slots
    return facts.size + tokens * facts.cache_bytes + _PROGRAM_BYTES + int(facts.size * _BUFFERS_SHARE)


def context_of(facts: Facts, context: int) -> int:
    """The context of a conversation: what is configured, but not more than the model was trained for."""
    return min(context, facts.context or context)


def free_bytes(group: Path = _GROUP) -> int:
    """What can be used without swapping: of the machine, or of the container if that has less."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = (group / "memory.max").read_text().strip(), int((group / "memory.current").read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if limit != "max":
            # Pages of files that were read count as used, and are given back when others need them.
            free = min(free, int(limit) - used + int(cached.get("inactive_file", 0)))
    except (OSError, ValueError):
        # No cgroup v2, or the root group, which has no limit.
        pass
    return max(0, free)
