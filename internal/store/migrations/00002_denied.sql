-- +goose Up
-- What was revoked is asked for a few times a second by every replica.
CREATE INDEX device_certificate_revoked ON device_certificate (revoked) WHERE revoked <> 0;

-- +goose Down
DROP INDEX device_certificate_revoked;
