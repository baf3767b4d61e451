// Package mqtt reads and writes the packets of MQTT 3.1.1 and 5 that a server for dataloggers exchanges with its
// clients: what a client may send is read, what a server says is written, and QoS 2 is left out. It does no I/O but
// reading a header, keeps nothing, and allocates no more than a packet has bytes. Section numbers are those of the OASIS
// standard MQTT Version 5.0.
package mqtt
