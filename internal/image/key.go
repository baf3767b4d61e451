package image

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// The DER of a public key is a fixed prefix and the bare key, for the two kinds there are: no ASN.1 needs parsing.
var (
	prefixP256    = []byte("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00")
	prefixEd25519 = []byte("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00")
)

// maxPEM bounds a public key file.
const maxPEM = 4096

// Key is a public key that signs images: ECDSA on P-256, or Ed25519. The zero value verifies nothing.
type Key struct {
	der     []byte
	p256    *ecdsa.PublicKey
	ed25519 ed25519.PublicKey
}

// ID is the SHA-256 of the key's DER (SubjectPublicKeyInfo) in hexadecimal: how an image names its signer.
func (k Key) ID() string {
	h := sha256.Sum256(k.der)
	return hex.EncodeToString(h[:])
}

// NewKey takes a P-256 or Ed25519 public key.
func NewKey(pub crypto.PublicKey) (Key, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			break
		}
		point, err := p.Bytes()
		if err != nil {
			return Key{}, fmt.Errorf("image key: %w", err)
		}
		return Key{der: append(bytes.Clone(prefixP256), point...), p256: p}, nil
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			break
		}
		return Key{der: append(bytes.Clone(prefixEd25519), p...), ed25519: p}, nil
	}
	return Key{}, errors.New("image key: it must be ECDSA on P-256 or Ed25519")
}

// ParsePublicKeyPEM reads one public key and nothing else: a PEM block "PUBLIC KEY", ECDSA on P-256 or Ed25519.
func ParsePublicKeyPEM(data []byte) (Key, error) {
	if len(data) > maxPEM {
		return Key{}, fmt.Errorf("image key: %d bytes are too many for a public key", len(data))
	}
	data = bytes.TrimSpace(data)
	const begin = "-----BEGIN PUBLIC KEY-----"
	b, rest := pem.Decode(data)
	if b == nil || len(rest) != 0 || len(b.Headers) != 0 || !bytes.HasPrefix(data, []byte(begin)) || bytes.Count(data, []byte("-----BEGIN ")) != 1 {
		return Key{}, errors.New("image key: the file is not one PEM block PUBLIC KEY")
	}
	if point, ok := bytes.CutPrefix(b.Bytes, prefixP256); ok {
		p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return Key{}, fmt.Errorf("image key: %w", err)
		}
		return NewKey(p)
	}
	if bare, ok := bytes.CutPrefix(b.Bytes, prefixEd25519); ok {
		return NewKey(ed25519.PublicKey(bare))
	}
	return Key{}, errors.New("image key: it must be ECDSA on P-256 or Ed25519")
}
