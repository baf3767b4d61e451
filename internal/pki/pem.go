package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

const (
	maxPEM   = 256 << 10
	maxCerts = 32
)

// MarshalCertsPEM writes certificates one after another.
func MarshalCertsPEM(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// ParseCertsPEM reads 1 to 32 certificates. Anything that is not a CERTIFICATE block is an error, before, between or
// after them: a file that was cut or mixed up is not half believed.
func ParseCertsPEM(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := data; len(bytes.TrimSpace(rest)) > 0; {
		var der []byte
		var err error
		if der, rest, err = nextBlock(rest, "CERTIFICATE"); err != nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		if certs = append(certs, c); len(certs) > maxCerts {
			return nil, fmt.Errorf("read certificates: more than %d", maxCerts)
		}
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("read certificates: there is none")
	}
	return certs, nil
}

// ParseCertPEM reads exactly one certificate.
func ParseCertPEM(data []byte) (*x509.Certificate, error) {
	certs, err := ParseCertsPEM(data)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("read certificate: %d certificates where one is expected", len(certs))
	}
	return certs[0], nil
}

// MarshalKeyPEM writes a private key as PKCS#8.
func MarshalKeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKeyPEM reads one PKCS#8 P-256 private key and nothing else.
func ParseKeyPEM(data []byte) (*ecdsa.PrivateKey, error) {
	der, rest, err := nextBlock(data, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("read private key: something follows the key")
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read private key: it is a %T, not an elliptic curve key on P-256", k)
	}
	if err := checkKey(key.Public()); err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	return key, nil
}

// MarshalPEM writes both halves of the pair.
func (k *KeyPair) MarshalPEM() (cert, key []byte, err error) {
	key, err = MarshalKeyPEM(k.Key)
	return MarshalCertsPEM(k.Cert), key, err
}

// ParseKeyPair reads what [KeyPair.MarshalPEM] wrote; halves that do not belong together are an error.
func ParseKeyPair(cert, key []byte) (*KeyPair, error) {
	c, err := ParseCertPEM(cert)
	if err != nil {
		return nil, err
	}
	k, err := ParseKeyPEM(key)
	if err != nil {
		return nil, err
	}
	if !k.PublicKey.Equal(c.PublicKey) {
		return nil, fmt.Errorf("the private key is not that of the certificate %s", c.Subject)
	}
	return &KeyPair{Cert: c, Key: k}, nil
}

// nextBlock takes one PEM block of the type off the front of data, with nothing but white space before it.
func nextBlock(data []byte, kind string) (der, rest []byte, err error) {
	if len(data) > maxPEM {
		return nil, nil, fmt.Errorf("read %s: %d bytes are too many", kind, len(data))
	}
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("-----BEGIN "+kind+"-----")) {
		return nil, nil, fmt.Errorf("read %s: no PEM block of that type where one is expected", kind)
	}
	b, rest := pem.Decode(data)
	if b == nil || b.Type != kind || len(b.Headers) != 0 {
		return nil, nil, fmt.Errorf("read %s: the PEM block is broken", kind)
	}
	// pem.Decode skips what it cannot read and takes the next block: then more than one BEGIN was used up.
	if used := data[:len(data)-len(rest)]; bytes.Count(used, []byte("-----BEGIN ")) != 1 {
		return nil, nil, fmt.Errorf("read %s: the PEM block is broken", kind)
	}
	return b.Bytes, rest, nil
}
