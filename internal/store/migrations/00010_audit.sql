-- +goose Up
-- Audit events tell where they came from, and are chained by a hash that anybody can work out again.

ALTER TABLE audit ADD COLUMN format INTEGER NOT NULL DEFAULT 0; -- how hash is made; docs/audit.md
ALTER TABLE audit ADD COLUMN origin BLOB NOT NULL DEFAULT '';   -- sealed address; empty where it is not known

-- +goose Down
ALTER TABLE audit DROP COLUMN origin;
ALTER TABLE audit DROP COLUMN format;
