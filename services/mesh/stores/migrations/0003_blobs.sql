-- Bytes of pictures, sounds and documents, once per tenant. `object` is the key in the store of objects. It is never used
-- a second time, also if the same bytes are deleted and come again.
CREATE TABLE mesh.blob (
    tenant_id text NOT NULL,
    hash text NOT NULL,
    size bigint NOT NULL,
    object text NOT NULL UNIQUE,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, hash)
);

-- Who needs them, for example `conversation:<id>`.
CREATE TABLE mesh.blob_reference (
    tenant_id text NOT NULL,
    owner text NOT NULL,
    hash text NOT NULL,
    PRIMARY KEY (tenant_id, owner, hash),
    FOREIGN KEY (tenant_id, hash) REFERENCES mesh.blob
);
CREATE INDEX blob_reference_by_hash ON mesh.blob_reference (tenant_id, hash);

-- Bytes that have lost an owner: if they have no other one, they are deleted.
CREATE TABLE mesh.blob_released (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    hash text NOT NULL
);

-- Objects that are to be deleted from the store.
CREATE TABLE mesh.blob_garbage (
    object text PRIMARY KEY
);
