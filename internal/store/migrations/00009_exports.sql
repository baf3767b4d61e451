-- +goose Up
-- Exports: what was asked for, how far it is, and the file in sealed parts.

CREATE TABLE export (
    project_id  TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    kind        TEXT NOT NULL,
    actor_kind  TEXT NOT NULL, -- who asked
    actor_id    TEXT NOT NULL,
    created     BIGINT NOT NULL,
    state       TEXT NOT NULL,
    attempt     BIGINT NOT NULL, -- counts how often a hub began; parts of an earlier one are void
    started     BIGINT NOT NULL, -- the newest attempt; 0 before the first
    lease_until BIGINT NOT NULL, -- while it runs: after that, whoever comes begins anew
    done        BIGINT NOT NULL, -- samples written
    total       BIGINT NOT NULL, -- samples there are; 0 while not counted
    size        BIGINT NOT NULL, -- bytes of the file so far
    parts       BIGINT NOT NULL,
    finished    BIGINT NOT NULL,
    expires     BIGINT NOT NULL, -- when it is removed; 0 while not finished
    body        BLOB NOT NULL,   -- what was asked for
    outcome     BLOB NOT NULL,   -- why it failed; empty while it has not
    PRIMARY KEY (project_id, id)
);
CREATE INDEX export_by_state ON export (state, created);

-- No reference: what a deleted project or export leaves goes bit by bit.
CREATE TABLE export_part (
    project_id TEXT NOT NULL,
    export_id  TEXT NOT NULL,
    attempt    BIGINT NOT NULL,
    number     BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, export_id, attempt, number)
);

-- +goose Down
DROP TABLE export_part;
DROP TABLE export;
