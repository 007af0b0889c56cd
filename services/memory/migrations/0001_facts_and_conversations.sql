CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

-- What was remembered under a key. `value` and `metadata` are serialised google.protobuf.Value and Struct, so that they
-- come back exactly; `facets` repeats the metadata for filters.
CREATE TABLE fact (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL,
    metadata bytea,
    facets jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    accessed_count integer NOT NULL DEFAULT 0,
    last_accessed timestamptz,
    indexed_at timestamptz,
    UNIQUE (tenant_id, key)
);
CREATE INDEX fact_by_facets ON fact USING gin (facets jsonb_path_ops);
CREATE INDEX fact_expiring ON fact (expires_at) WHERE expires_at IS NOT NULL;

-- `last_sequence` is the number of turns: sequences start at 1 and have no gaps.
CREATE TABLE conversation (
    tenant_id text NOT NULL,
    conversation_id text NOT NULL,
    last_sequence integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id)
);

-- One turn, a serialised soma.model.v1.Message. `request_id` is on the last turn of the append that carried it.
CREATE TABLE turn (
    tenant_id text NOT NULL,
    conversation_id text NOT NULL,
    sequence integer NOT NULL,
    role smallint NOT NULL,
    tokens integer NOT NULL,
    message bytea NOT NULL,
    request_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id, sequence),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversation ON DELETE CASCADE
);
CREATE UNIQUE INDEX turn_by_request ON turn (tenant_id, conversation_id, request_id) WHERE request_id IS NOT NULL;

-- A piece of a fact or of a turn, short enough to be embedded; without its vector until the model service gave one.
CREATE TABLE passage (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    fact_id uuid REFERENCES fact ON DELETE CASCADE,
    conversation_id text,
    sequence integer,
    heading text NOT NULL,
    text text NOT NULL,
    terms tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english'::regconfig, heading || ' ' || text)) STORED,
    embedding vector(384),
    claimed_until timestamptz,
    FOREIGN KEY (tenant_id, conversation_id, sequence) REFERENCES turn ON DELETE CASCADE,
    CHECK ((fact_id IS NULL) = (conversation_id IS NOT NULL AND sequence IS NOT NULL))
);
CREATE INDEX passage_by_meaning ON passage USING hnsw (embedding vector_cosine_ops) WHERE fact_id IS NOT NULL;
CREATE INDEX passage_by_words ON passage USING gin (terms);
CREATE INDEX passage_of_fact ON passage (fact_id) WHERE fact_id IS NOT NULL;
CREATE INDEX passage_of_facts ON passage (tenant_id) WHERE fact_id IS NOT NULL;
CREATE INDEX passage_of_turn ON passage (tenant_id, conversation_id, sequence) WHERE conversation_id IS NOT NULL;
CREATE INDEX passage_without_vector ON passage (id) WHERE embedding IS NULL;
