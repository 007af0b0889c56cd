"""The output of a model as policy lets it through: each piece is checked before a client gets it."""

from soma.model.v1.message_pb2 import Delta
from soma.policy.v1.policy_service_pb2 import DECISION_ALLOW, DECISION_REDACT, EvaluateResponse

from services.orchestrator.adapters.policy import Policy


class CheckedOutput:
    """The output of one turn. `resource` is who writes it, such as `model:gpt-5`, once that is known."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.resource = ""
        self._unconditional = False
        # What belongs to a text that policy changed no longer fits it.
        self._changed_thoughts: set[int] = set()
        self._changed_text = False

    async def check(self, delta: Delta) -> tuple[Delta | None, EvaluateResponse | None]:
        """A piece as the client may get it, and the decision if it was not to allow it unchanged.

        The piece is None when policy withholds it; it is the same object when nothing in it changed.
        """
        decision = None
        if not self._unconditional:
            texts = _texts(delta)
            if texts:
                checked = await self._policy.check_output(texts, self.resource)
                self._unconditional = checked.unconditional
                if checked.decision != DECISION_ALLOW:
                    decision = checked
                    if checked.decision != DECISION_REDACT:
                        return None, decision
                    delta = self._redacted(delta, checked)
        if self._changed_thoughts or self._changed_text:
            delta = self._without_attachments(delta)
        return delta, decision

    def _redacted(self, delta: Delta, checked: EvaluateResponse) -> Delta:
        """A copy of the piece with the texts of the decision."""
        redacted = Delta()
        redacted.CopyFrom(delta)
        texts = iter(checked.redacted_contents)
        for thought in redacted.reasoning:
            before = thought.text, thought.details
            thought.text = next(texts) if thought.text else ""
            if thought.details and thought.details != next(texts):
                thought.details = ""
            if before != (thought.text, thought.details):
                self._changed_thoughts.add(thought.index)
        if redacted.text and redacted.text != (text := next(texts)):
            redacted.text = text
            self._changed_text = True
            redacted.ClearField("logprobs")
        for citation in redacted.citations:
            citation.title = next(texts) if citation.title else ""
            citation.quote = next(texts) if citation.quote else ""
            if citation.details and citation.details != next(texts):
                citation.details = ""
        for call in redacted.tool_calls:
            call.arguments = next(texts) if call.arguments else ""
        return redacted

    def _without_attachments(self, delta: Delta) -> Delta:
        """The piece without signatures of changed thoughts, and without positions in a changed text."""
        signed = any(thought.index in self._changed_thoughts for thought in delta.reasoning)
        if not signed and not (self._changed_text and delta.citations):
            return delta
        copy = Delta()
        copy.CopyFrom(delta)
        for thought in copy.reasoning:
            if thought.index in self._changed_thoughts:
                thought.ClearField("signature")
                thought.ClearField("details")
        if self._changed_text:
            for citation in copy.citations:
                citation.ClearField("start")
                citation.ClearField("end")
        return copy


def _texts(delta: Delta) -> list[str]:
    """The texts of a piece that are not empty, in the order in which `_redacted` puts them back.

    Signatures and redacted thoughts are not texts: only their provider can read them.
    """
    texts: list[str] = []
    # Most pieces are a text alone. To look whether a field is empty costs less than to go through it.
    if delta.reasoning:
        for thought in delta.reasoning:
            texts += (thought.text, thought.details)
    texts.append(delta.text)
    if delta.citations:
        for citation in delta.citations:
            texts += (citation.title, citation.quote, citation.details)
    if delta.tool_calls:
        texts += [call.arguments for call in delta.tool_calls]
    return [text for text in texts if text]
