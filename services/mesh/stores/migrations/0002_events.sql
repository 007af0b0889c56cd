-- Which service consumes the events of which area. A former consumer is retired until its group is deleted from Redis.
CREATE TABLE mesh.event_group (
    consumer text NOT NULL,
    area text NOT NULL,
    retired boolean NOT NULL DEFAULT false,
    PRIMARY KEY (consumer, area)
);

-- Events a consumer has handled, or failed to: written in the transaction of what it did. Without a time it has failed so
-- far, `attempts` times. `outbox_id` is the row of the area's outbox it came from, 0 where nothing says it.
CREATE TABLE mesh.consumed (
    consumer text NOT NULL,
    event_id text NOT NULL,
    area text NOT NULL,
    outbox_id bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    handle_time timestamptz,
    PRIMARY KEY (consumer, event_id)
);
CREATE INDEX consumed_by_age ON mesh.consumed (consumer, area, handle_time);

-- Events a consumer gave up on. Once one was replayed and handled it is kept for a while, so that to replay it again
-- changes nothing.
CREATE TABLE mesh.dead_letter (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id text NOT NULL,
    consumer text NOT NULL,
    area text NOT NULL,
    type text NOT NULL,
    event_id text NOT NULL,
    event bytea NOT NULL,
    reason text NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    state text NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'replaying', 'handled')),
    create_time timestamptz NOT NULL DEFAULT now(),
    handle_time timestamptz,
    UNIQUE (consumer, event_id)
);
CREATE INDEX dead_letter_newest ON mesh.dead_letter (tenant_id, create_time DESC, id DESC) WHERE state <> 'handled';
