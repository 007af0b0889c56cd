-- Rows are addressed within their tenant, and rows of sessions and responses say which one that is: policies compare a
-- column and look nothing up.
ALTER TABLE orchestrator.pending_turn
    DROP CONSTRAINT pending_turn_request_id_key,
    DROP CONSTRAINT pending_turn_pkey,
    ADD PRIMARY KEY (tenant_id, request_id);
CREATE INDEX pending_turn_oldest ON orchestrator.pending_turn (id);

ALTER TABLE orchestrator.chat_session_request
    DROP CONSTRAINT chat_session_request_session_id_fkey,
    DROP CONSTRAINT chat_session_request_pkey,
    ADD COLUMN tenant_id text;
UPDATE orchestrator.chat_session_request AS request SET tenant_id = session.tenant_id
    FROM orchestrator.chat_session AS session WHERE session.id = request.session_id;
ALTER TABLE orchestrator.chat_session DROP CONSTRAINT chat_session_pkey, ADD PRIMARY KEY (tenant_id, id);
ALTER TABLE orchestrator.chat_session_request
    ALTER COLUMN tenant_id SET NOT NULL,
    ADD PRIMARY KEY (tenant_id, session_id, request_id),
    ADD FOREIGN KEY (tenant_id, session_id) REFERENCES orchestrator.chat_session ON DELETE CASCADE;

ALTER TABLE orchestrator.response_event
    DROP CONSTRAINT response_event_response_id_fkey,
    DROP CONSTRAINT response_event_pkey,
    ADD COLUMN tenant_id text;
UPDATE orchestrator.response_event AS event SET tenant_id = response.tenant_id
    FROM orchestrator.response AS response WHERE response.response_id = event.response_id;
ALTER TABLE orchestrator.response DROP CONSTRAINT response_pkey, ADD PRIMARY KEY (tenant_id, response_id);
ALTER TABLE orchestrator.response_event
    ALTER COLUMN tenant_id SET NOT NULL,
    ADD PRIMARY KEY (tenant_id, response_id, sequence),
    ADD FOREIGN KEY (tenant_id, response_id) REFERENCES orchestrator.response ON DELETE CASCADE;
