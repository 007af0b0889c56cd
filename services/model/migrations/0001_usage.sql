CREATE TABLE model.usage (
    generation_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    subject text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    outcome smallint NOT NULL,
    error_reason text NOT NULL,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    conversation_id text NOT NULL,
    start_time timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    time_to_first_token_seconds double precision NOT NULL
);

CREATE INDEX usage_newest ON model.usage (tenant_id, start_time DESC, generation_id DESC);
CREATE INDEX usage_of_conversation ON model.usage (tenant_id, conversation_id, start_time DESC, generation_id DESC)
    WHERE conversation_id <> '';
