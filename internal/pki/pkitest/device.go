// Package pkitest gives tests of a whole hub devices that enrol and connect as loggers do, over real TLS.
package pkitest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

// Device is a datalogger's identity.
type Device struct {
	Root *x509.Certificate
	Key  *ecdsa.PrivateKey
	Cert *x509.Certificate

	t testing.TB
}

// Enrol gets a device that is claimed its certificate from the hub at an address, by EST (RFC 7030).
func Enrol(t testing.TB, hub string, root *x509.Certificate, serial, code string) *Device {
	t.Helper()
	d := &Device{t: t, Root: root}
	var err error
	if d.Key, err = pki.NewKey(); err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(d.Key, serial)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest("POST", "https://"+hub+"/.well-known/est/simpleenroll", bytes.NewReader(pki.EncodeEST(csr)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	req.SetBasicAuth(serial, code)
	c := d.HTTP(nil)
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("enrol: %d %s %v", resp.StatusCode, body, err)
	}
	der, err := pki.DecodeEST(body)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParseCertsOnly(der)
	if err != nil {
		t.Fatal(err)
	}
	d.Cert = certs[0]
	return d
}

// Pair is the device's certificate with its key.
func (d *Device) Pair() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{d.Cert.Raw}, PrivateKey: d.Key, Leaf: d.Cert}
}

// TLS is how the device meets its hub on this machine, with a certificate or none.
func (d *Device) TLS(pair *tls.Certificate) *tls.Config {
	d.t.Helper()
	o := pki.DeviceOptions{Host: "127.0.0.1", Roots: []*x509.Certificate{d.Root}}
	if pair != nil {
		live := &pki.Live{}
		live.Set(pair)
		o.Certificate = live.Client
	}
	c, err := pki.DeviceTLS(o)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// HTTP is a client of the hub that keeps its connections until the test ends.
func (d *Device) HTTP(pair *tls.Certificate) *http.Client {
	d.t.Helper()
	t := &http.Transport{TLSClientConfig: d.TLS(pair), ForceAttemptHTTP2: true}
	d.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 20 * time.Second}
}
