-- Sessions, each of one principal. What was said in them is the memory service's; `config` is a serialised
-- google.protobuf.Struct, so that it comes back exactly. A session that is being deleted is seen no more.
CREATE TABLE orchestrator.chat_session (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    subject text NOT NULL,
    request_id uuid,
    session_type text NOT NULL,
    model_name text NOT NULL,
    user_id text NOT NULL,
    title text NOT NULL,
    agent_id text NOT NULL,
    template text NOT NULL,
    instructions text NOT NULL,
    config bytea,
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'paused', 'completed', 'archived', 'deleting')),
    version integer NOT NULL DEFAULT 1,
    messages integer NOT NULL DEFAULT 0,
    answers integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    response_tokens bigint NOT NULL DEFAULT 0,
    response_seconds double precision NOT NULL DEFAULT 0,
    generation_seconds double precision NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    last_message_at timestamptz
);
CREATE UNIQUE INDEX chat_session_by_request ON orchestrator.chat_session (tenant_id, subject, request_id)
    WHERE request_id IS NOT NULL;
CREATE INDEX chat_session_newest ON orchestrator.chat_session (tenant_id, subject, created_at DESC, id DESC);

-- Messages that came with a request id: while one is being answered its row is claimed, then it holds the answer,
-- a serialised SendChatMessageResponse.
CREATE TABLE orchestrator.chat_session_request (
    session_id uuid NOT NULL REFERENCES orchestrator.chat_session ON DELETE CASCADE,
    request_id uuid NOT NULL,
    response bytea,
    claimed_until timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (session_id, request_id)
);
