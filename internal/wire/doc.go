// Package wire is the device protocol: the batch of samples a datalogger uploads ([Batch]; binary and JSON), the
// manifest in which it says what it is and what it measures ([Manifest]), and the hub's answers. It does no I/O and
// trusts no byte: decoders are bounded and never panic. The formats are described in docs/format/batch.md.
package wire
