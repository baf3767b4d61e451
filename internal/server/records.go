package server

import (
	"errors"
	"net"
)

// records is a listener below TLS whose connections carry nothing but TLS records. net/http would answer somebody who
// speaks plain HTTP to it in plain HTTP; the public ports say nothing in plaintext, not even that.
type records struct{ net.Listener }

func (l records) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return recordConn{c}, nil
}

type recordConn struct{ net.Conn }

var errPlaintext = errors.New("plaintext was to be sent below TLS")

// Write sends what crypto/tls writes: whole records, each beginning with its type, 20 to 23.
func (c recordConn) Write(b []byte) (int, error) {
	if len(b) > 0 && (b[0] < 20 || b[0] > 23) {
		return 0, errPlaintext
	}
	return c.Conn.Write(b)
}
