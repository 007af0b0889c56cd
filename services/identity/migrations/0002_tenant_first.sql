-- A session is addressed within its tenant. Its refresh token is found by its digest alone, because it comes without the
-- name of a tenant; so is a key by its id.
ALTER TABLE identity.refresh_token DROP CONSTRAINT refresh_token_session_id_fkey;
ALTER TABLE identity.session DROP CONSTRAINT session_pkey, ADD PRIMARY KEY (tenant_id, session_id);
ALTER TABLE identity.refresh_token
    ADD FOREIGN KEY (tenant_id, session_id) REFERENCES identity.session ON DELETE CASCADE;
DROP INDEX identity.refresh_token_of_session;
CREATE INDEX refresh_token_of_session ON identity.refresh_token (tenant_id, session_id);

-- Pages of tenants go by the bytes of their ids; old revocations are deleted by their age.
CREATE INDEX tenant_by_id ON identity.tenant (tenant_id COLLATE "C");
CREATE INDEX revocation_by_age ON identity.revocation (create_time);
