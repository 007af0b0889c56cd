-- A dead letter is addressed within its tenant.
ALTER TABLE mesh.dead_letter
    DROP CONSTRAINT dead_letter_pkey,
    DROP CONSTRAINT dead_letter_consumer_event_id_key,
    ADD PRIMARY KEY (tenant_id, id),
    ADD UNIQUE (tenant_id, consumer, event_id);
CREATE INDEX dead_letter_by_age ON mesh.dead_letter (consumer, area, handle_time) WHERE state = 'handled';
