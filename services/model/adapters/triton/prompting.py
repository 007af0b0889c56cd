"""How the models that continue a prompt are asked: those of Triton's backends for vLLM and TensorRT-LLM.

All of them have the input `text_input` and the output `text_output`. The other inputs tell how a model takes the
parameters of the sampling:

- one JSON object in `sampling_parameters`, with the names of vLLM: the vLLM backend;
- a tensor for each, such as `sampling_param_temperature`: the LLM API of TensorRT-LLM. Each of its answers has the
  whole text so far, those of the others only what is new;
- a tensor for each, such as `temperature`: the ensemble and the `tensorrt_llm_bls` around an engine of TensorRT-LLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_TOKENS = 1024
SAMPLING_JSON = "sampling_parameters"
_PREFIX = "sampling_param_"
# The types of the tensors, by the name of the parameter in the contract.
FLOATS = ("temperature", "top_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
INTEGERS = ("top_k", "max_tokens")
_STOPS = ("stop_words", f"{_PREFIX}stop")
# What a model that continues a prompt never has: the answer would have to be read in another way.
_NEVER = frozenset(
    {
        *("json_object", "json_schema", "logprobs", "forced_tool", "typed_tools"),
        *("reasoning_effort", "reasoning_budget", "suffix", "echo"),
    }
)


@dataclass(frozen=True)
class Prompting:
    """How one model is asked.

    Attributes:
        inputs: names of its inputs.
        batched: whether its tensors have a first dimension for the requests of a batch.
        template: its chat template (parameter `chat_template`); empty if it holds no conversations.
        bos: the text for `bos_token` of the template (parameter `bos_token`).
        eos: the text for `eos_token` of the template (parameter `eos_token`).
        answer_tokens: most tokens of an answer when the caller sets no limit (parameter `answer_tokens`). Without any,
            vLLM ends after 16.
    """

    inputs: frozenset[str]
    batched: bool = False
    template: str = ""
    bos: str = ""
    eos: str = ""
    answer_tokens: int = ANSWER_TOKENS

    @classmethod
    def of(cls, configuration: Any, parameters: Mapping[str, str]) -> Prompting:
        """How the model with a `ModelConfig` is asked."""
        tokens = parameters.get("answer_tokens", "")
        return cls(
            frozenset(each.name for each in configuration.input),
            configuration.max_batch_size > 0,
            parameters.get("chat_template", ""),
            parameters.get("bos_token", ""),
            parameters.get("eos_token", ""),
            int(tokens) if tokens.isdecimal() and int(tokens) else ANSWER_TOKENS,
        )

    @property
    def by_json(self) -> bool:
        """Whether the sampling is one JSON object."""
        return SAMPLING_JSON in self.inputs

    @property
    def cumulative(self) -> bool:
        """Whether each answer has the whole text so far."""
        return f"{_PREFIX}max_tokens" in self.inputs

    @property
    def stops(self) -> str | None:
        """The input for stop sequences; None if it has none."""
        return next((name for name in _STOPS if name in self.inputs), None)

    @property
    def excluded(self) -> frozenset[str]:
        """The parameters that it lacks, by their names in `services.model.parameters`."""
        if self.by_json:
            return _NEVER
        return _NEVER | {name for name in (*FLOATS, "top_k", "seed") if self.tensor(name) not in self.inputs}

    def tensor(self, name: str) -> str:
        """The input for a parameter of the contract, whether the model has it or not."""
        return f"{_PREFIX}{name}" if self.cumulative else name
