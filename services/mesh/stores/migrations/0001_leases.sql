-- Which process does what only one of them is to do. A row counts until its time is over; it is deleted by a process
-- that stops.
CREATE TABLE mesh.lease (
    name text PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
);
