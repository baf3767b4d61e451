// Package pki is the installation's own certificate authority and the rules of its TLS: who is a device, who is the
// hub, and how long that is believed.
//
// Three P-256 authorities: an offline root, and two issuing ones below it that cannot stand in for each other. The
// devices CA signs client certificates only and is bound, by a critical name constraint, to URIs of one trust domain;
// the hub CA signs server certificates only. A device decides nothing about its certificate but its key: subject,
// names and life are the hub's. See RFC 5280 (certificates), RFC 7030 and RFC 8951 (EST), RFC 2315 (PKCS#7), and the
// SPIFFE ID specification for the form of the URI.
//
// Nothing here does I/O or keeps state. Private keys are [crypto.Signer] values, so they may live in a file, a PKCS#11
// token or a TPM.
package pki
