"""A model of `triton_models` as the template of another: its configuration to change, and its program."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from services.model.adapters.triton.settings import SOURCE

MODELS = SOURCE / "triton_models"
VERSION = "1"
CONFIGURATION = "config.pbtxt"
_PROGRAM = "model.py"
_HEAD = "# Made by `soma triton render`; change its settings and make it again.\n"


def parsed(text: str) -> Any:
    """The `ModelConfig` in the text of a `config.pbtxt`.

    Raises:
        ParseError: it is none.
    """
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@dataclass
class Made:
    """One model of a repository before it is written.

    Attributes:
        name: its name, and that of its folder.
        configuration: its `ModelConfig`.
        program: the Python file that it runs; None for other backends.
        files: texts of files in the folder of its version, by name.
        links: files elsewhere that are linked there, by name.
    """

    name: str
    configuration: Any
    program: Path | None = None
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @classmethod
    def like(cls, template: str, name: str) -> Made:
        """A model with the configuration and the program of a model of `triton_models`, under another name."""
        folder = MODELS / template
        configuration = parsed((folder / CONFIGURATION).read_text("utf-8"))
        configuration.name = name
        program = folder / VERSION / _PROGRAM
        return cls(name, configuration, program if program.exists() else None)

    def set(self, parameters: Mapping[str, object]) -> None:
        """Set parameters; one that is None is removed."""
        for name, value in parameters.items():
            if value is None:
                self.configuration.parameters.pop(name, None)
            else:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                self.configuration.parameters[name].string_value = text

    def write(self, repository: Path) -> None:
        """Write it as a new folder of a repository."""
        version = repository / self.name / VERSION
        version.mkdir(parents=True)
        text = text_format.MessageToString(self.configuration, as_utf8=True)
        (version.parent / CONFIGURATION).write_text(_HEAD + text, "utf-8")
        if self.program is not None:
            shutil.copyfile(self.program, version / _PROGRAM)
        for name, text in self.files.items():
            (version / name).write_text(text, "utf-8")
        for name, target in self.links.items():
            (version / name).symlink_to(target)
