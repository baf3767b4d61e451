// Package agent is the datalogger: it samples its sensors on a schedule, keeps every record in its own log until the
// hub has acknowledged it, and uploads over TLS 1.3 with its own certificate. It only ever dials out.
//
// What is durable when: a record, before it is offered for upload (package wal); the acknowledged position, after the
// hub said that the samples are on its disk; the device's key, before a certificate is asked for it; a certificate,
// before it is used. So the program may be killed at any instruction: it goes on where it stopped, and what was under
// way is sent again, which the hub stores once.
//
// Goroutines: one for each sensor (sample, append), one for the uplink (the only one that moves the acknowledged
// position), one for the MQTT session, one for the status file. Sampling never waits for the network.
//
// Trusted: the pinned roots. The hub proves itself under them in every handshake; even so its answers are bounded,
// and none of them can make a record disappear: an acknowledgement counts for what was sent only, and a record the
// hub cannot read is set aside in a file.
package agent
