-- Events of the ledger on their way to Redis (see services/mesh/events/outbox.py, which has added columns since).
CREATE TABLE model.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    aggregate text NOT NULL,
    event bytea NOT NULL
);
