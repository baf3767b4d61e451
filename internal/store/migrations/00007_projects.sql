-- +goose Up
-- Projects that are put away, or are to be destroyed; who is asked into which.

ALTER TABLE project ADD COLUMN archived BIGINT NOT NULL DEFAULT 0; -- since when; 0 is not
ALTER TABLE project ADD COLUMN destroy BIGINT NOT NULL DEFAULT 0;  -- when it is destroyed; 0 is never
CREATE INDEX project_by_destruction ON project (destroy) WHERE destroy <> 0;

CREATE TABLE invitation (
    project_id  TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    email_index BLOB NOT NULL, -- as of users, whether or not there is one
    role        TEXT NOT NULL,
    locations   TEXT NOT NULL, -- as of member
    inviter     TEXT NOT NULL,
    created     BIGINT NOT NULL,
    sent        BIGINT NOT NULL,
    expires     BIGINT NOT NULL,
    body        BLOB NOT NULL, -- the address
    PRIMARY KEY (project_id, id),
    UNIQUE (project_id, email_index)
);
CREATE INDEX invitation_by_email ON invitation (email_index);
CREATE INDEX invitation_by_expiry ON invitation (expires);

-- +goose Down
DROP TABLE invitation;
DROP INDEX project_by_destruction;
ALTER TABLE project DROP COLUMN destroy;
ALTER TABLE project DROP COLUMN archived;
