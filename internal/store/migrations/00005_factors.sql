-- +goose Up
-- What people prove who they are with, beside the password.

CREATE TABLE totp (
    user_id    TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    created    BIGINT NOT NULL,
    active     INTEGER NOT NULL, -- 0: set-up has begun and waits for a first code
    step       BIGINT NOT NULL,  -- the last time step whose code was used; no code counts twice
    wrong      INTEGER NOT NULL, -- wrong codes since wrong_from
    wrong_from BIGINT NOT NULL,
    body       BLOB NOT NULL     -- the secret
);

CREATE TABLE recovery_code (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    BLOB NOT NULL,
    created BIGINT NOT NULL,
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE passkey (
    user_id          TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id               TEXT NOT NULL,
    credential_index BLOB NOT NULL UNIQUE, -- keyed hash of the credential's id
    created          BIGINT NOT NULL,
    used             BIGINT NOT NULL,      -- 0: never
    suspect          BIGINT NOT NULL,      -- when its counter went back; 0: never
    counter          BIGINT NOT NULL,
    body             BLOB NOT NULL,        -- name, public key
    PRIMARY KEY (user_id, id)
);

CREATE TABLE identity (
    user_id       TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    subject_index BLOB NOT NULL UNIQUE, -- keyed hash of issuer and subject
    created       BIGINT NOT NULL,
    used          BIGINT NOT NULL,      -- 0: never
    body          BLOB NOT NULL,        -- issuer, subject, address
    PRIMARY KEY (user_id, id)
);

-- Steps that wait for a browser's answer: a challenge to a passkey, a log-in half done, a visit to a provider. Each is
-- answered at most once, on whichever replica, and soon.
CREATE TABLE challenge (
    hash    BLOB NOT NULL PRIMARY KEY, -- of the secret that the browser brings back
    kind    TEXT NOT NULL,
    user_id TEXT NOT NULL,    -- '': nobody known yet
    expires BIGINT NOT NULL,
    tries   INTEGER NOT NULL, -- wrong answers so far
    body    BLOB NOT NULL
);
CREATE INDEX challenge_by_expiry ON challenge (expires);
CREATE INDEX challenge_by_user ON challenge (user_id);

ALTER TABLE session ADD COLUMN proof TEXT NOT NULL DEFAULT 'password'; -- how its owner has proven who they are
ALTER TABLE session ADD COLUMN strong INTEGER NOT NULL DEFAULT 0;      -- 1: with a second factor, or what equals one
ALTER TABLE session ADD COLUMN confirmed BIGINT NOT NULL DEFAULT 0;    -- when they proved it again, for what needs that

-- +goose Down
ALTER TABLE session DROP COLUMN confirmed;
ALTER TABLE session DROP COLUMN strong;
ALTER TABLE session DROP COLUMN proof;
DROP TABLE challenge;
DROP TABLE identity;
DROP TABLE passkey;
DROP TABLE recovery_code;
DROP TABLE totp;
