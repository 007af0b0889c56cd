-- Who a person is for an outside issuer: its name in the settings, and `sub` in its tokens. Such a person has no password.
ALTER TABLE identity.person ADD COLUMN issuer text NOT NULL DEFAULT '';
ALTER TABLE identity.person ADD COLUMN subject text NOT NULL DEFAULT '';
CREATE UNIQUE INDEX person_by_subject ON identity.person (tenant_id, issuer, subject) WHERE issuer <> '';

-- A token of an outside issuer has a session of its own, with the roles that it names.
ALTER TABLE identity.session ADD COLUMN claimed_roles text[] NOT NULL DEFAULT '{}';
-- Whoever logs out wants the work to go on that was asked for; every other end of a session ends its work as well.
ALTER TABLE identity.session ADD COLUMN logged_out boolean NOT NULL DEFAULT false;
