"""What Claude models take to think, and which other parameters exclude it.

The facts are those of https://platform.claude.com/docs/en/build-with-claude/extended-thinking and its page on adaptive
thinking.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from soma.model.v1.options_pb2 import GenerationOptions

from services.model.adapters.counts import count, member
from services.model.json_text import parse_object
from services.model.parameters import MEMBERS, PARAMETERS

_THINKING = f"{MEMBERS}thinking"
# The smallest `top_p` that goes with thinking.
_LOWEST_TOP_P = 0.95
# Tokens of thoughts for an effort, for models that know only a limit of tokens. 1,024 is the least.
_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 32_000}


# What a model that binds its thoughts does with those that do not fit, and the trial feature for it.
_BINDING = {"prefix_mismatch_behavior": "drop_block"}
BINDING_BETA = "thinking-binding-controls-2026-08-01"


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the requests for a model may ask for.

    Attributes:
        adaptive: whether the model itself decides how much it thinks, with an effort as advice.
        budget: whether its thoughts can have a limit of tokens.
        off: the type of `thinking` that turns it off; empty if it cannot be turned off.
        bound: whether it refuses its own thoughts if anything before them has changed.
        forced: whether it can be forced to call a tool.
        samples: whether it takes a temperature, `top_p` and `top_k`.
        both: whether it takes a temperature and `top_p` in one request.
        most_tokens: most tokens of an answer; 0 if it is not known.
    """

    adaptive: bool = True
    budget: bool = True
    off: str = "disabled"
    bound: bool = False
    forced: bool = True
    samples: bool = True
    both: bool = False
    most_tokens: int = 0


_OLDEST = Abilities(adaptive=False, both=True)
_NEWER = Abilities(budget=False, samples=False)
_NEWEST = replace(_NEWER, off="", bound=True, forced=False)
# By patterns of names; the first match counts.
_BY_NAME: tuple[tuple[str, Abilities], ...] = (
    ("*claude-3-7*", _OLDEST),
    ("*claude-3*", replace(_OLDEST, budget=False, off="")),
    ("*claude-opus-4-[02]*", _OLDEST),
    ("*claude-sonnet-4-[02]*", _OLDEST),
    ("*claude-opus-4-1*", Abilities(adaptive=False)),
    ("*claude-*-4-5*", Abilities(adaptive=False)),
    ("*claude-opus-4-[78]*", _NEWER),
    ("*claude-opus-5-5*", _NEWEST),
    ("*claude-sonnet-5-5*", replace(_NEWEST, off="between_tools")),
    ("*claude-haiku-5-5*", replace(_NEWER, bound=True)),
    ("*claude-fable-5-[12]*", _NEWEST),
    ("*claude-mythos-5-[12]*", _NEWEST),
    ("*claude-fable-*", replace(_NEWER, off="")),
    ("*claude-mythos-*", replace(_NEWER, off="")),
    ("*claude-opus-5*", _NEWER),
    ("*claude-sonnet-5*", _NEWER),
    ("*claude-*", Abilities()),
    # A model of another maker, behind a server with the same protocol.
    ("*", _OLDEST),
)


def abilities_of(name: str, entry: Mapping[str, Any]) -> Abilities:
    """The abilities of a model, by its entry in the list of models, else by its name."""
    known = next(abilities for pattern, abilities in _BY_NAME if fnmatchcase(name, pattern))
    types = member(member(entry.get("capabilities"), "thinking"), "types")
    adaptive, budget = (member(member(types, kind), "supported") for kind in ("adaptive", "enabled"))
    if isinstance(adaptive, bool) and isinstance(budget, bool):
        # The models that think only as they decide themselves take no sampling parameters.
        known = replace(known, adaptive=adaptive, budget=budget, samples=known.samples and (budget or not adaptive))
    return replace(known, most_tokens=count(entry.get("max_tokens")))


def thinking_members(options: GenerationOptions, abilities: Abilities) -> dict[str, Any]:
    """The members of the body that say how much the model thinks."""
    reasoning = options.reasoning
    effort = reasoning.effort
    if effort == "none":
        return {"thinking": {"type": abilities.off}} if abilities.off else {}
    found: dict[str, Any] = {}
    if effort and abilities.adaptive:
        # Newer models show no thoughts if nothing is said.
        found["thinking"] = {"type": "adaptive", "display": "summarized"}
        found["output_config"] = {"effort": "low" if effort == "minimal" else effort}
    elif effort:
        found["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS[effort]}
    if reasoning.HasField("budget_tokens"):
        found["thinking"] = {"type": "enabled", "budget_tokens": reasoning.budget_tokens}
    return found


def excluded(options: GenerationOptions, abilities: Abilities) -> frozenset[str]:
    """The parameters that the model lacks, or that do not go with the others of the request.

    They have their names of `services.model.parameters`.

    Raises:
        InvalidArgument: `provider_params` are no JSON object.
    """
    sampling = options.sampling
    found: set[str] = set()
    if not abilities.samples:
        found |= {"temperature", "top_p", "top_k"}
    elif not abilities.both and sampling.HasField("temperature") and sampling.temperature != 1.0:
        found.add("top_p")
    effort = options.reasoning.effort
    can_think = abilities.adaptive or abilities.budget
    if (effort == "none" and can_think and not abilities.off) or (effort not in ("", "none") and not can_think):
        found.add("reasoning_effort")
    if not abilities.budget:
        found.add("reasoning_budget")
    if not abilities.forced:
        found.add("forced_tool")
    if not _thinks(options):
        return frozenset(found)
    if abilities.forced and PARAMETERS["forced_tool"].is_set(options):
        # A call can be forced only from a model that does not think.
        return frozenset(found | {"reasoning_effort", "reasoning_budget", _THINKING})
    found |= {"temperature", "top_k"}
    if sampling.top_p < _LOWEST_TOP_P:
        found.add("top_p")
    return frozenset(found)


def loosen_binding(body: dict[str, Any]) -> bool:
    """Ask a model that binds its thoughts to leave out those that do not fit; it would refuse the whole request.

    What is before a thought changes, such as the text that is remembered for a question. Returns whether the model can
    be asked for it: it cannot if it is not to think.
    """
    thinking = body.setdefault("thinking", {"type": "adaptive"})
    if member(thinking, "type") != "adaptive":
        return False
    thinking.setdefault("block_binding", _BINDING)
    return True


def _thinks(options: GenerationOptions) -> bool:
    """Whether the request asks the model to think."""
    if options.HasField("reasoning"):
        reasoning = options.reasoning
        if reasoning.effort != "none" and (reasoning.effort or reasoning.HasField("budget_tokens")):
            return True
    if "thinking" not in options.provider_params:
        return False
    given = parse_object(options.provider_params, "provider_params").get("thinking")
    return member(given, "type") in ("enabled", "adaptive")
