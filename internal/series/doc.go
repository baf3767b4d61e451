// Package series keeps what the dataloggers measured: it appends uploads to the journal with group commit, folds them
// in the background into one chunk per element and UTC day, and reads both as one series, exactly once and in order of
// time, raw or reduced to the pixels asked for.
//
// What holds at every moment:
//   - [Engine.Append] returns nil only when the upload is on disk, synced.
//   - The same (element, time) is one sample; of two writes the one with the greater [loggerhead.Rank] stands, whatever
//     order they arrived in. Merging is therefore idempotent, and a crash, a repeated upload or a second folder can at
//     worst do work twice.
//   - A journal row leaves the journal in the transaction that stores the chunks it went into, never before.
//   - Readers read the journal first and the chunks after it, so a fold in between shows a row twice, not never; the
//     merge makes it one.
//
// The formats are in docs/format/chunk.md and docs/format/journal.md.
package series
