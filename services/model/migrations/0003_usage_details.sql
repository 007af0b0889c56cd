-- What a provider's numbers consist of, and whether a number is estimated. Older rows do not say it.
ALTER TABLE model.usage
    ADD COLUMN cached_prompt_tokens integer NOT NULL DEFAULT 0,
    ADD COLUMN cache_write_prompt_tokens integer NOT NULL DEFAULT 0,
    ADD COLUMN reasoning_tokens integer NOT NULL DEFAULT 0,
    ADD COLUMN estimated boolean NOT NULL DEFAULT false;
