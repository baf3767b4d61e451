-- +goose Up
-- What became of samples: corrections and approvals by people, writes that lost against later ones, and when uploads
-- arrived, so that a series can be read as it stood at any past moment.

CREATE TABLE correction (
    project_id   TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    element_id   TEXT NOT NULL,
    id           TEXT NOT NULL,
    number       BIGINT NOT NULL, -- place in the element's stack
    from_time    BIGINT NOT NULL, -- included
    to_time      BIGINT NOT NULL, -- excluded
    created      BIGINT NOT NULL,
    actor_kind   TEXT NOT NULL,
    actor_id     TEXT NOT NULL,
    revoked      BIGINT NOT NULL, -- 0: it stands
    revoked_kind TEXT NOT NULL,
    revoked_id   TEXT NOT NULL,
    body         BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id, id),
    UNIQUE (project_id, element_id, number)
);

CREATE TABLE approval (
    project_id   TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    element_id   TEXT NOT NULL,
    id           TEXT NOT NULL,
    from_time    BIGINT NOT NULL, -- included
    to_time      BIGINT NOT NULL, -- excluded
    created      BIGINT NOT NULL,
    actor_kind   TEXT NOT NULL,
    actor_id     TEXT NOT NULL,
    revoked      BIGINT NOT NULL, -- 0: it stands
    revoked_kind TEXT NOT NULL,
    revoked_id   TEXT NOT NULL,
    body         BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id, id)
);

CREATE TABLE revision (
    project_id TEXT NOT NULL,
    element_id TEXT NOT NULL,
    day        INTEGER NOT NULL, -- of the chunk, with which it changes
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id, day)
);

CREATE TABLE arrival (
    project_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    day        INTEGER NOT NULL, -- UTC days, of the hub's clock at arrival
    gen        BIGINT NOT NULL,
    rank_min   BIGINT NOT NULL,  -- of all ranks in body, less 2^63
    rank_max   BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, device_id, day)
);

ALTER TABLE project ADD COLUMN retention_days INTEGER NOT NULL DEFAULT 0; -- 0 keeps everything

CREATE TABLE deleted_project (
    id      TEXT NOT NULL PRIMARY KEY, -- its key is gone; its rows go bit by bit
    deleted BIGINT NOT NULL
);

-- +goose Down
DROP TABLE deleted_project;
ALTER TABLE project DROP COLUMN retention_days;
DROP TABLE arrival;
DROP TABLE revision;
DROP TABLE approval;
DROP TABLE correction;
