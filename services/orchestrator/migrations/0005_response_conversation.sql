-- The conversation a response belongs to, so that it can be deleted with it; empty without one. Responses of an earlier
-- version have none: theirs is in `response` alone.
ALTER TABLE orchestrator.response ADD COLUMN conversation_id text;

CREATE INDEX response_by_conversation ON orchestrator.response (tenant_id, conversation_id)
    WHERE conversation_id IS DISTINCT FROM '';
