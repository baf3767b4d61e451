-- +goose Up
-- Programs of a project: service accounts, which ask, and integrations, which send. Both prove themselves with keys.

CREATE TABLE service_account (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id         TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL,
    locations  TEXT NOT NULL,    -- ids joined by a comma; '' is the whole project
    networks   TEXT NOT NULL,    -- prefixes joined by a comma; '' is everywhere
    expires    BIGINT NOT NULL,  -- 0 is never
    enabled    INTEGER NOT NULL,
    created    BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE integration (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id         TEXT NOT NULL UNIQUE,
    networks   TEXT NOT NULL,
    expires    BIGINT NOT NULL,
    enabled    INTEGER NOT NULL,
    created    BIGINT NOT NULL,
    body       BLOB NOT NULL,    -- name, elements
    PRIMARY KEY (project_id, id)
);

CREATE TABLE program_key (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    program_id TEXT NOT NULL,    -- of a service account or an integration
    id         TEXT NOT NULL,
    key_hash   BLOB NOT NULL UNIQUE,
    created    BIGINT NOT NULL,
    expires    BIGINT NOT NULL,  -- 0 is never
    used       BIGINT NOT NULL,  -- 0 is never; written at most once a minute
    used_from  BLOB NOT NULL,    -- sealed; empty while it was not used
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, program_id, id)
);

CREATE TABLE service_token (
    token_hash BLOB NOT NULL PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    program_id TEXT NOT NULL,
    key_id     TEXT NOT NULL,    -- with which it was got, and with which it dies
    created    BIGINT NOT NULL,
    expires    BIGINT NOT NULL
);
CREATE INDEX service_token_by_key ON service_token (project_id, program_id, key_id);
CREATE INDEX service_token_by_expiry ON service_token (expires);

CREATE TABLE program_usage (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    program_id TEXT NOT NULL,
    day        INTEGER NOT NULL, -- UTC days since 1970-01-01
    class      TEXT NOT NULL,
    requests   BIGINT NOT NULL,
    samples    BIGINT NOT NULL,
    PRIMARY KEY (project_id, program_id, day, class)
);

-- +goose Down
DROP TABLE program_usage;
DROP TABLE service_token;
DROP TABLE program_key;
DROP TABLE integration;
DROP TABLE service_account;
