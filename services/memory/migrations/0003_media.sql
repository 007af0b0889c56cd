-- The media types of pictures, sounds and documents in a conversation, by the SHA-256 of their bytes. The mesh keeps the
-- bytes.
CREATE TABLE media (
    tenant_id text NOT NULL,
    conversation_id text NOT NULL,
    hash text NOT NULL,
    media_type text NOT NULL,
    PRIMARY KEY (tenant_id, conversation_id, hash),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversation ON DELETE CASCADE
);
CREATE INDEX media_by_hash ON media (tenant_id, hash);
