-- What happened in responses that are made in the background, so that whoever left can read on: they go with their response.
CREATE TABLE orchestrator.response_event (
    response_id text NOT NULL REFERENCES orchestrator.response ON DELETE CASCADE,
    sequence integer NOT NULL,
    -- A serialised soma.orchestrator.v1.WatchResponseResponse.
    event bytea NOT NULL,
    PRIMARY KEY (response_id, sequence)
);
