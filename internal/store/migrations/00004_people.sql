-- +goose Up
-- Accounts that people look after themselves: links by mail, the mail that waits, where sessions are used, and the audit
-- trail of what belongs to no project.

ALTER TABLE users ADD COLUMN verified BIGINT NOT NULL DEFAULT 0; -- when the address was proven to be theirs; 0: never
ALTER TABLE users ADD COLUMN disabled BIGINT NOT NULL DEFAULT 0; -- when an operator barred the account; 0: it is not

ALTER TABLE session ADD COLUMN used BIGINT NOT NULL DEFAULT 0; -- last, to within minutes; 0: not yet
ALTER TABLE session ADD COLUMN body BLOB NOT NULL DEFAULT '';  -- address and program it was used from

CREATE TABLE link (
    token_hash BLOB NOT NULL PRIMARY KEY,
    purpose    TEXT NOT NULL,
    subject    BLOB NOT NULL, -- keyed hash of what it is about; a later link of the purpose about the same voids it
    user_id    TEXT NOT NULL, -- '' where the address has no account
    expires    BIGINT NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX link_by_subject ON link (subject, purpose);
CREATE INDEX link_by_user ON link (user_id);
CREATE INDEX link_by_expiry ON link (expires);

CREATE TABLE outbox (
    id      TEXT NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL,
    due     BIGINT NOT NULL, -- not to be tried before; whoever takes it moves this on
    expires BIGINT NOT NULL, -- not to be sent after
    tries   INTEGER NOT NULL,
    body    BLOB NOT NULL
);
CREATE INDEX outbox_by_due ON outbox (due);

CREATE TABLE installation (
    id           INTEGER NOT NULL PRIMARY KEY, -- 1
    audit_number BIGINT NOT NULL, -- of the newest audit event that belongs to no project
    audit_hash   BLOB NOT NULL    -- empty before the first
);
INSERT INTO installation (id, audit_number, audit_hash) VALUES (1, 0, '');

-- +goose Down
DROP TABLE installation;
DROP TABLE outbox;
DROP TABLE link;
ALTER TABLE session DROP COLUMN body;
ALTER TABLE session DROP COLUMN used;
ALTER TABLE users DROP COLUMN disabled;
ALTER TABLE users DROP COLUMN verified;
