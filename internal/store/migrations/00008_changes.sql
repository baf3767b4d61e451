-- +goose Up
-- What was changed, for everybody who keeps a copy of a project: the audit trail without what is sealed in it, and where
-- the thing stood, so that it can be shown to whoever may see that place.

CREATE TABLE change (
    project_id  TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    number      BIGINT NOT NULL,  -- of the audit event; many changes may come of one
    subject     TEXT NOT NULL,    -- id of what was changed
    version     BIGINT NOT NULL,  -- counts the subject's changes from 1
    kind        TEXT NOT NULL,    -- location, device, element, member, correction, approval, series, project, …
    operation   TEXT NOT NULL,    -- create, change, delete
    parent      TEXT NOT NULL,    -- the element of a correction or an approval
    location_id TEXT NOT NULL,    -- where it stood before
    time        BIGINT NOT NULL,
    from_time   BIGINT NOT NULL,  -- the range of a series that was changed; both 0 where there is none
    to_time     BIGINT NOT NULL,
    PRIMARY KEY (project_id, number, subject)
);
CREATE UNIQUE INDEX change_by_subject ON change (project_id, subject, version);

-- Days of series into which samples came. Numbers count up in each project and are committed in their order.
CREATE TABLE mark (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    element_id TEXT NOT NULL,
    day        INTEGER NOT NULL,
    number     BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    PRIMARY KEY (project_id, element_id, day)
);
CREATE INDEX mark_by_number ON mark (project_id, number);

CREATE TABLE mark_number (
    project_id TEXT NOT NULL PRIMARY KEY REFERENCES project (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL -- of the newest mark
);

CREATE TABLE idempotency (
    key_hash    BLOB NOT NULL PRIMARY KEY, -- of who asks, for which operation, with which key
    actor       BLOB NOT NULL,             -- hash of who asks, so that nobody takes all the room
    owner       TEXT NOT NULL,             -- whose key seals the answer: a project's id, or 'installation'
    fingerprint BLOB NOT NULL,             -- hash of the request
    attempt     BLOB NOT NULL,             -- random; whose turn it is
    created     BIGINT NOT NULL,
    lease       BIGINT NOT NULL,           -- until when the attempt is taken to be under way
    subject     TEXT NOT NULL,             -- what the request changed, once that is committed; '' before
    status      INTEGER NOT NULL,          -- of the answer; 0 before
    answer      BLOB NOT NULL
);
CREATE INDEX idempotency_by_age ON idempotency (created);
CREATE INDEX idempotency_by_actor ON idempotency (actor);

CREATE TABLE deleted_element (
    project_id TEXT NOT NULL,
    id         TEXT NOT NULL, -- what an upload still brings for it is swept away
    deleted    BIGINT NOT NULL,
    PRIMARY KEY (project_id, id)
);

-- +goose Down
DROP TABLE deleted_element;
DROP TABLE idempotency;
DROP TABLE mark_number;
DROP TABLE mark;
DROP TABLE change;
