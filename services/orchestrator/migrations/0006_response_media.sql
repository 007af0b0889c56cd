-- Whether the input of a response refers to bytes that are kept for it, and that are let go when it is deleted.
ALTER TABLE orchestrator.response ADD COLUMN media boolean NOT NULL DEFAULT false;
