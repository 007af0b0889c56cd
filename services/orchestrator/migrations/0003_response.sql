-- Responses that are kept, each with what it was asked: one can be read again, cancelled, and gone on from.
CREATE TABLE orchestrator.response (
    tenant_id text NOT NULL,
    response_id text PRIMARY KEY,
    previous_response_id text NOT NULL,
    state text NOT NULL CHECK (state IN ('in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    -- Serialised soma.orchestrator.v1 messages: a CreateResponseRequest with only its input, and a Response.
    input bytea NOT NULL,
    response bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- When the process that makes it last said that it does.
    alive_time timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX response_by_age ON orchestrator.response (create_time);
