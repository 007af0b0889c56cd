-- The key of what only the mesh can read and clients keep, such as compactions. All processes of the stack share it.
CREATE TABLE orchestrator.seal_key (
    id smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    key bytea NOT NULL CHECK (length(key) = 32),
    create_time timestamptz NOT NULL DEFAULT now()
);
