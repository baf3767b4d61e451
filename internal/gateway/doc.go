// Package gateway is the edge that dataloggers reach: uploads, manifests and enrolment over HTTPS, uploads and notices
// over MQTT 3.1.1 and 5. docs/protocol.md is what a device maker reads.
//
// Who a device is comes from its verified client certificate and from nothing else: no header, client identifier, topic
// or user name adds to it. An answer that acknowledges samples is given after they are on disk, synced. Everything a
// device sends is hostile until read: sizes, times, counts and memory are bounded, and a device cannot use up the share
// of another. A device that is revoked loses its live connections within a second, on every replica.
package gateway
