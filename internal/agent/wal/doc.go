// Package wal is the datalogger's own log: every sampling goes into it, synced, before anything else is done with it,
// and stays in it until the hub has said that it is stored.
//
// What is durable when:
//
//   - [Log.Append] returns after its records are synced, and the folder they are in was synced when their file was
//     made. A record whose Append returned an error may still be there: the log can hold more than was promised,
//     never less. After a failed sync its file is left and its number is not given again.
//   - [Log.Batch] hands out synced records only, so that a sequence number the hub has seen is never given to another
//     record.
//   - [Log.Ack] returns after the cursor is synced. A power cut in it leaves the old cursor or the new one; the old one
//     makes the device send again what the hub already has, which the hub takes as the same.
//   - [Log.SetAside] returns after the copy is synced, its folder too, and then the cursor. A power cut in it leaves
//     the records unacked, or aside, or both.
//   - Deletions of segments are not synced: a segment that comes back after a power cut is one that is acked, or one
//     that was counted as dropped and is delivered after all.
//
// What may go: acked files when KeepAcked is passed or room is needed. By the policy [DropOldest] also what is set aside,
// and then unacked files, oldest first; each such record is counted before it goes. By [Stop] nothing else.
//
// Nothing on the disk is trusted to be whole: each record carries its length, its sequence number and a CRC-32C that
// also covers the log's id. docs/format/log.md describes the bytes.
package wal
