"""Loads a file once, to find out whether llama.cpp can: `python -m services.model.llm.trial FILE`.

It is a process of its own, because a damaged file may end the process that loads it.
"""

import os
import sys
from pathlib import Path

from services.model.llm.engine import Engine, EngineError, EngineSettings

_CONTEXT = 256


def main() -> None:
    """End with 0 if the file can be loaded; llama.cpp writes to standard error why it cannot."""
    try:
        # Kept until the end, because freeing it would only take time.
        engine = Engine(Path(sys.argv[1]), EngineSettings(slots=1), _CONTEXT)
    except EngineError:
        os._exit(1)
    os._exit(0 if engine else 1)


if __name__ == "__main__":
    main()
