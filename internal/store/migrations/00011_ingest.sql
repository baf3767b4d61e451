-- +goose Up
-- Taking samples in, cheaply: one row per device that every upload changes, and a journal that is only written at its end.

CREATE TABLE intake (
    project_id      TEXT NOT NULL,
    device_id       TEXT NOT NULL,
    stream          BIGINT NOT NULL, -- the device's short name in keys of the journal; random
    gen             BIGINT NOT NULL, -- grows by one at each writing of next_seq and body
    next_seq        BIGINT NOT NULL, -- number of the device's next upload
    folded          BIGINT NOT NULL, -- uploads numbered up to here are in chunks, but for those that are held
    waiting         BIGINT NOT NULL, -- uploads that are not in chunks,
    waiting_bytes   BIGINT NOT NULL, -- the bytes of their bodies,
    waiting_samples BIGINT NOT NULL, -- their samples,
    oldest          BIGINT NOT NULL, -- and about when the oldest of them was received
    body            BLOB NOT NULL,   -- newest sample of each element
    PRIMARY KEY (project_id, device_id)
);

INSERT INTO intake (project_id, device_id, stream, gen, next_seq, folded, waiting, waiting_bytes, waiting_samples, oldest, body)
    SELECT project_id, device_id, row_number() OVER (ORDER BY project_id, device_id), 1, count(*) + 1, 0, count(*), sum(size), sum(samples), min(received), ''
    FROM journal GROUP BY project_id, device_id;

ALTER TABLE journal RENAME TO journal_before;

CREATE TABLE journal (
    stream   BIGINT NOT NULL,
    seq      BIGINT NOT NULL,  -- counts the uploads of a stream
    held     INTEGER NOT NULL, -- 1: a fold could not take it
    id       BLOB NOT NULL,    -- 8 bytes of time, 8 random; the body is sealed for it
    received BIGINT NOT NULL,
    samples  BIGINT NOT NULL,
    size     BIGINT NOT NULL,  -- bytes of body
    body     BLOB NOT NULL,
    PRIMARY KEY (stream, seq)
);

INSERT INTO journal (stream, seq, held, id, received, samples, size, body)
    SELECT i.stream, row_number() OVER (PARTITION BY i.stream ORDER BY j.id), 0, j.id, j.received, j.samples, j.size, j.body
    FROM journal_before j JOIN intake i ON i.project_id = j.project_id AND i.device_id = j.device_id;

DROP TABLE journal_before;

-- What lost on a day goes into the chunk's row, which a fold reads and writes anyway.
ALTER TABLE chunk ADD COLUMN revision BLOB NULL;

UPDATE chunk SET revision = (SELECT r.body FROM revision r
    WHERE r.project_id = chunk.project_id AND r.element_id = chunk.element_id AND r.day = chunk.day);

DROP TABLE revision;

-- So does when it was last written, by a number that counts up in each project: tables of its own for that took 130 bytes
-- a chunk more.
ALTER TABLE chunk ADD COLUMN mark BIGINT NOT NULL DEFAULT 0;
ALTER TABLE chunk ADD COLUMN marked BIGINT NOT NULL DEFAULT 0;

UPDATE chunk SET mark = coalesce((SELECT m.number FROM mark m
    WHERE m.project_id = chunk.project_id AND m.element_id = chunk.element_id AND m.day = chunk.day), 0),
    marked = coalesce((SELECT m.time FROM mark m
    WHERE m.project_id = chunk.project_id AND m.element_id = chunk.element_id AND m.day = chunk.day), 0);

CREATE INDEX chunk_by_mark ON chunk (project_id, mark);

DROP TABLE mark;

-- +goose Down
CREATE TABLE mark (
    project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    element_id TEXT NOT NULL,
    day        INTEGER NOT NULL,
    number     BIGINT NOT NULL,
    time       BIGINT NOT NULL,
    PRIMARY KEY (project_id, element_id, day)
);
CREATE INDEX mark_by_number ON mark (project_id, number);

INSERT INTO mark (project_id, element_id, day, number, time)
    SELECT project_id, element_id, day, mark, marked FROM chunk WHERE mark > 0;

DROP INDEX chunk_by_mark;
ALTER TABLE chunk DROP COLUMN marked;
ALTER TABLE chunk DROP COLUMN mark;

CREATE TABLE revision (
    project_id TEXT NOT NULL,
    element_id TEXT NOT NULL,
    day        INTEGER NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, element_id, day)
);

INSERT INTO revision (project_id, element_id, day, body)
    SELECT project_id, element_id, day, revision FROM chunk WHERE revision IS NOT NULL;

ALTER TABLE chunk DROP COLUMN revision;

ALTER TABLE journal RENAME TO journal_after;

CREATE TABLE journal (
    project_id TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    id         BLOB NOT NULL,
    received   BIGINT NOT NULL,
    samples    BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (project_id, device_id, id)
);

INSERT INTO journal (project_id, device_id, id, received, samples, size, body)
    SELECT i.project_id, i.device_id, j.id, j.received, j.samples, j.size, j.body
    FROM journal_after j JOIN intake i ON i.stream = j.stream WHERE j.seq > i.folded OR j.held = 1;

DROP TABLE journal_after;
DROP TABLE intake;
