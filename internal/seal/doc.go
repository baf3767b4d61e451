// Package seal is encryption at rest: one master key, kept in a file of mode 0600, wraps one data key per owner (a
// project, or the installation), and everything an owner stores is sealed with its data key before it reaches any
// engine. Destroying an owner's wrapped key destroys its data.
//
// Sealed bytes are AES-256-GCM by Tink, bound to a context (what the bytes are and where they stand), so that a row
// moved to another place does not open. Losing the master key loses the data.
package seal
