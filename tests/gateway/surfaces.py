"""The surfaces of the edge, as its instances announce them."""

from inspect import signature
from typing import Any

from gateway.edge.anthropic import surface as anthropic
from gateway.edge.anthropic.api import Api as AnthropicApi
from gateway.edge.logs import surface as logs
from gateway.edge.openai import surface as openai
from gateway.edge.openai.api import Api
from gateway.edge.openai.failures import ERRORS

NOTHING: Any = None
API = Api(**dict.fromkeys(signature(Api).parameters, NOTHING))
OPENAI = openai.surface(API, NOTHING, NOTHING)
ANTHROPIC_API = AnthropicApi(NOTHING, NOTHING, 0)
ANTHROPIC = anthropic.surface(ANTHROPIC_API, NOTHING, 4 * 1024 * 1024)
LOGS = logs.surface(NOTHING, NOTHING, openai.UNKNOWN, ERRORS)
EDGE = tuple(surface.announced("edge") for surface in (OPENAI, ANTHROPIC, LOGS))
