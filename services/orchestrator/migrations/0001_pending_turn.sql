-- Turns that were answered and not yet appended to memory. A row is written before the client hears that the turn is
-- finished, and deleted once memory has it.
CREATE TABLE orchestrator.pending_turn (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_id uuid NOT NULL UNIQUE,
    tenant_id text NOT NULL,
    conversation_id text NOT NULL,
    subject text NOT NULL,
    scopes text[] NOT NULL,
    request bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX pending_turn_by_conversation ON orchestrator.pending_turn (tenant_id, conversation_id, id);
