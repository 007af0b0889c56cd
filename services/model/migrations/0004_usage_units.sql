-- What providers count beside tokens.
ALTER TABLE model.usage
    ADD COLUMN audio_seconds double precision NOT NULL DEFAULT 0,
    ADD COLUMN images integer NOT NULL DEFAULT 0,
    ADD COLUMN characters integer NOT NULL DEFAULT 0,
    ADD COLUMN search_units integer NOT NULL DEFAULT 0;
