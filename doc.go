// Package loggerhead is the vocabulary of Loggerhead, an open cloud for dataloggers: plain types, identifiers,
// roles, units and error codes that every other package speaks in. It imports the standard library only and does
// no I/O; one file holds one noun.
//
// Time is always UTC milliseconds ([Millis]), values are float64, and quality is a QARTOD flag ([Flag]).
package loggerhead
