package store

import "time"

// KeepKeys sets for how long an opened data key is used before it is read anew.
func (db *DB) KeepKeys(d time.Duration) { db.keepKey = d }
