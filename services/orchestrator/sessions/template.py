"""Templates: the instructions that a session gives the model, by the type of the session."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from soma.errors.v1 import reasons
from soma.orchestrator.v1 import chat_session_service_pb2 as pb

from services.mesh.call import errors

TEMPLATES = Path(__file__).with_name("templates.toml")
DEFAULT_TYPE = "general"


class Templates:
    """The templates in the order of their file; each session type has one default."""

    def __init__(self, tables: Sequence[Mapping[str, object]]) -> None:
        self._instructions: dict[str, Template] = {}
        self.all: list[pb.ChatTemplate] = []
        for table in tables:
            fields = dict(table)
            instructions = Template(str(fields.pop("instructions")).strip())
            template = pb.ChatTemplate(**fields)  # type: ignore[arg-type]  # the file's keys are the contract's
            instructions.substitute(template.parameters)
            self._instructions[template.name] = instructions
            self.all.append(template)
        self._defaults = {each.session_type: each for each in self.all if each.default}

    @classmethod
    def read(cls, path: Path = TEMPLATES) -> "Templates":
        """Read a file of templates.

        Raises:
            KeyError: instructions name a parameter that the template does not have.
        """
        return cls(tomllib.loads(path.read_text("utf-8"))["template"])

    def choose(self, session_type: str, name: str) -> pb.ChatTemplate:
        """The named template of a session type, or its default if the name is empty.

        Raises:
            InvalidArgument: the session type is unknown, or does not have this template.
        """
        default = self._defaults.get(session_type)
        if default is None:
            raise _invalid("session_type", f"one of {', '.join(self._defaults)}", reasons.SESSION_TYPE_UNKNOWN)
        if not name:
            return default
        named = {each.name: each for each in self.all if each.session_type == session_type}
        if name not in named:
            raise _invalid("config.template", f"one of {', '.join(named)}", reasons.TEMPLATE_UNKNOWN)
        return named[name]

    def instructions(self, template: pb.ChatTemplate, parameters: Mapping[str, str]) -> str:
        """The instructions with these parameters, and with the template's defaults for the others.

        Raises:
            InvalidArgument: the template does not have one of these parameters.
        """
        unknown = sorted(parameters.keys() - template.parameters.keys())
        if unknown:
            known = ", ".join(template.parameters) or "none"
            raise _invalid(f"config.custom_parameters.{unknown[0]}", f"one of {known}", reasons.PARAMETER_UNKNOWN)
        return self._instructions[template.name].substitute({**template.parameters, **parameters})


def _invalid(field: str, problem: str, reason: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"{field}: {problem}", reason=reason, violations=(errors.FieldViolation(field, problem),)
    )
