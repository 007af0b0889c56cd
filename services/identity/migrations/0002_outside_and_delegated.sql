-- People that an outside issuer knows. They have no password.
CREATE TABLE identity.outside_identity (
    tenant_id text NOT NULL,
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, issuer, subject),
    FOREIGN KEY (tenant_id, user_id) REFERENCES identity.person ON DELETE CASCADE
);
CREATE UNIQUE INDEX outside_identity_of_person ON identity.outside_identity (tenant_id, user_id);

-- A token of an outside issuer has a session of its own, with the roles that it names.
ALTER TABLE identity.session ADD COLUMN claimed_roles text[] NOT NULL DEFAULT '{}';
-- Whoever logs out wants the work to go on that was asked for; every other end of a session ends its work as well.
ALTER TABLE identity.session ADD COLUMN logged_out boolean NOT NULL DEFAULT false;
