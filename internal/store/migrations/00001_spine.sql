-- +goose Up
-- One schema for both engines; BLOB becomes BYTEA on PostgreSQL. Times are UTC milliseconds. What a project owns is
-- sealed in body columns under the project's key; what stands in the open is ids, times, sizes and states, by which
-- rows are found. Keys of large tables begin with the project, and no sequence is on the way of a sample.

CREATE TABLE owner_key (
    owner   TEXT NOT NULL PRIMARY KEY, -- a project's id, or 'installation'
    created BIGINT NOT NULL,
    wrapped BLOB NOT NULL              -- under the master key; deleting the row destroys what the owner stored
);

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
);

CREATE TABLE users (
    id          TEXT NOT NULL PRIMARY KEY,
    email_index BLOB NOT NULL UNIQUE, -- keyed hash of the folded address
    operator    INTEGER NOT NULL,
    created     BIGINT NOT NULL,
    body        BLOB NOT NULL         -- address, name, password hash
);

CREATE TABLE session (
    id         TEXT NOT NULL PRIMARY KEY,
    token_hash BLOB NOT NULL UNIQUE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created    BIGINT NOT NULL,
    expires    BIGINT NOT NULL
);
CREATE INDEX session_by_user ON session (user_id);
CREATE INDEX session_by_expiry ON session (expires);

CREATE TABLE project (
    id           TEXT NOT NULL PRIMARY KEY,
    created      BIGINT NOT NULL,
    audit_number BIGINT NOT NULL, -- of the newest audit event
    audit_hash   BLOB NOT NULL,
    body         BLOB NOT NULL
);

CREATE TABLE member (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL,
    locations  TEXT NOT NULL, -- ids joined by a comma; '' is the whole project
    created    BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX member_by_user ON member (user_id);

CREATE TABLE location (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    created    BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE inventory (
    serial_index BLOB NOT NULL PRIMARY KEY, -- keyed hash of the serial
    claim_hash   BLOB NOT NULL,             -- of the one-time code
    used_key     BLOB NOT NULL,             -- hash of the public key that used the code up; empty while it is good
    project_id   TEXT NOT NULL,             -- '' until claimed
    device_id    TEXT NOT NULL,
    created      BIGINT NOT NULL,
    body         BLOB NOT NULL
);

CREATE TABLE device (
    project_id    TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    location_id   TEXT NOT NULL,
    state         TEXT NOT NULL,
    created       BIGINT NOT NULL,
    last_seen     BIGINT NOT NULL,
    clock_offset  BIGINT NOT NULL,
    clock_suspect BIGINT NOT NULL,
    body          BLOB NOT NULL,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE device_certificate (
    key_hash   BLOB NOT NULL PRIMARY KEY, -- SHA-256 of the public key
    project_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    serial     TEXT NOT NULL,
    created    BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    revoked    BIGINT NOT NULL -- 0 is not
);
CREATE INDEX device_certificate_by_device ON device_certificate (project_id, device_id);

CREATE TABLE device_log (
    project_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    log        TEXT NOT NULL, -- 16 hex digits
    epoch      BIGINT NOT NULL,
    PRIMARY KEY (project_id, device_id, log),
    UNIQUE (project_id, device_id, epoch)
);

CREATE TABLE element (
    project_id    TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    device_id     TEXT NOT NULL,
    location_id   TEXT NOT NULL,
    channel_index BLOB NOT NULL, -- keyed hash of device and channel; of the id where there is no channel
    created       BIGINT NOT NULL,
    body          BLOB NOT NULL,
    PRIMARY KEY (project_id, id),
    UNIQUE (project_id, channel_index)
);
CREATE INDEX element_by_device ON element (project_id, device_id);

CREATE TABLE latest (
    project_id TEXT NOT NULL,
    element_id TEXT NOT NULL,
    time       BIGINT NOT NULL,
    rank       BIGINT NOT NULL, -- the rank less 2^63, so that it sorts as a signed number
    received   BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id)
);

CREATE TABLE journal (
    project_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    id         BLOB NOT NULL, -- 8 bytes of time, 8 random: no sequence to queue for
    received   BIGINT NOT NULL,
    samples    BIGINT NOT NULL,
    size       BIGINT NOT NULL, -- bytes of body
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, device_id, id)
);

CREATE TABLE chunk (
    project_id TEXT NOT NULL,
    element_id TEXT NOT NULL,
    day        INTEGER NOT NULL, -- UTC days since 1970-01-01
    gen        BIGINT NOT NULL,  -- grows by one at each writing
    summary    BLOB NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id, day)
);

CREATE TABLE audit (
    project_id TEXT NOT NULL,
    number     BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    detail     BLOB NOT NULL,
    hash       BLOB NOT NULL,
    PRIMARY KEY (project_id, number)
);

CREATE TABLE heartbeat (
    name TEXT NOT NULL PRIMARY KEY, -- of a hub process; health checks write it and read it back
    time BIGINT NOT NULL
);

-- +goose Down
DROP TABLE heartbeat;
DROP TABLE audit;
DROP TABLE chunk;
DROP TABLE journal;
DROP TABLE latest;
DROP TABLE element;
DROP TABLE device_log;
DROP TABLE device_certificate;
DROP TABLE device;
DROP TABLE inventory;
DROP TABLE location;
DROP TABLE member;
DROP TABLE project;
DROP TABLE session;
DROP TABLE users;
DROP TABLE setting;
DROP TABLE owner_key;
