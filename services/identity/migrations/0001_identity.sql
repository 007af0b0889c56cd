-- Organisations. Everything that any service stores belongs to one of them.
CREATE TABLE identity.tenant (
    tenant_id text PRIMARY KEY,
    title text NOT NULL,
    state smallint NOT NULL,
    tier text NOT NULL,
    version integer NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now()
);

-- Roles that a tenant made; those that every tenant has are in the code.
CREATE TABLE identity.role (
    tenant_id text NOT NULL REFERENCES identity.tenant,
    name text NOT NULL,
    description text NOT NULL,
    scopes text[] NOT NULL,
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, name)
);

-- People. `password` is an argon2id hash; without one nobody can log in.
CREATE TABLE identity.person (
    tenant_id text NOT NULL REFERENCES identity.tenant,
    user_id uuid NOT NULL DEFAULT gen_random_uuid(),
    username text NOT NULL,
    email text NOT NULL,
    display_name text NOT NULL,
    roles text[] NOT NULL,
    state smallint NOT NULL,
    password text,
    must_change_password boolean NOT NULL,
    version integer NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT now(),
    last_login_time timestamptz,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE UNIQUE INDEX person_by_name ON identity.person (tenant_id, lower(username));

-- Programs.
CREATE TABLE identity.service_account (
    tenant_id text NOT NULL REFERENCES identity.tenant,
    service_account_id uuid NOT NULL DEFAULT gen_random_uuid(),
    name text NOT NULL,
    scopes text[] NOT NULL,
    state smallint NOT NULL,
    tier text NOT NULL,
    creator text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, service_account_id),
    UNIQUE (tenant_id, name)
);
CREATE INDEX service_account_newest ON identity.service_account (tenant_id, create_time DESC, service_account_id DESC);

-- Keys of programs, each as the SHA-256 of the whole key.
CREATE TABLE identity.api_key (
    tenant_id text NOT NULL,
    service_account_id uuid NOT NULL,
    key_id text PRIMARY KEY,
    digest bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz,
    revoke_time timestamptz,
    last_use_time timestamptz,
    FOREIGN KEY (tenant_id, service_account_id) REFERENCES identity.service_account ON DELETE CASCADE
);
CREATE INDEX api_key_of_account ON identity.api_key (tenant_id, service_account_id, create_time DESC);

-- Sessions of people. The refresh tokens of a session are one family: if one is used twice, the session ends.
CREATE TABLE identity.session (
    tenant_id text NOT NULL,
    session_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    expire_time timestamptz NOT NULL,
    end_time timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES identity.person ON DELETE CASCADE
);
CREATE INDEX session_of_person ON identity.session (tenant_id, user_id);
CREATE INDEX session_by_end ON identity.session (expire_time);

CREATE TABLE identity.refresh_token (
    tenant_id text NOT NULL,
    session_id uuid NOT NULL REFERENCES identity.session ON DELETE CASCADE,
    digest bytea PRIMARY KEY,
    create_time timestamptz NOT NULL DEFAULT now(),
    use_time timestamptz
);
CREATE INDEX refresh_token_of_session ON identity.refresh_token (session_id);

-- What was taken away, in the order in which it was committed. Processes that keep principals follow it.
CREATE TABLE identity.revocation (
    sequence bigint PRIMARY KEY,
    kind smallint NOT NULL,
    tenant_id text NOT NULL,
    id text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE identity.revocation_counter (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    sequence bigint NOT NULL
);
INSERT INTO identity.revocation_counter (sequence) VALUES (0);

-- The keys that sign tokens, encrypted with a key that is derived from the internal key of the stack.
CREATE TABLE identity.signing_key (
    key_id text PRIMARY KEY,
    public_key bytea NOT NULL,
    private_key bytea NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- From when on it signs, and from when on its tokens are refused.
    sign_time timestamptz NOT NULL,
    retire_time timestamptz
);
