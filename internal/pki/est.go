package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"

	"github.com/smallstep/pkcs7"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	maxPKCS7   = 64 << 10
	maxDepth   = 32
	maxESTBody = 96 << 10 // base64 of the greatest PKCS#7, with line breaks
)

// CertsOnly wraps 1 to 32 certificates as a PKCS#7 SignedData without signers, the form EST hands them out in.
func CertsOnly(certs ...*x509.Certificate) ([]byte, error) {
	if len(certs) == 0 || len(certs) > maxCerts {
		return nil, fmt.Errorf("wrap certificates: %d of them; 1 to %d are possible", len(certs), maxCerts)
	}
	var raw []byte
	for _, c := range certs {
		raw = append(raw, c.Raw...)
	}
	der, err := pkcs7.DegenerateCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("wrap certificates: %w", err)
	}
	if len(der) > maxPKCS7 {
		return nil, fmt.Errorf("wrap certificates: %d bytes are more than the %d a reader takes", len(der), maxPKCS7)
	}
	return der, nil
}

// ParseCertsOnly reads what [CertsOnly] wrote, from whomever: DER only, at most 64 KiB, 1 to 32 certificates, no
// content, no signers, no revocation lists. It says nothing about whether the certificates are to be trusted.
func ParseCertsOnly(der []byte) ([]*x509.Certificate, error) {
	if len(der) > maxPKCS7 {
		return nil, lh.Errorf(lh.Invalid, "the PKCS#7 message has %d bytes; at most %d are taken", len(der), maxPKCS7)
	}
	// The library takes BER, of any depth, and ignores what follows it. Only shallow DER gets there.
	if err := checkDER(der, 0); err != nil {
		return nil, lh.Hide(lh.Invalid, err, "the PKCS#7 message is not DER")
	}
	p, err := pkcs7.Parse(der)
	if err != nil {
		return nil, lh.Hide(lh.Invalid, err, "the PKCS#7 message cannot be read")
	}
	if len(p.Signers) != 0 || len(p.Content) != 0 || len(p.CRLs) != 0 || len(p.Certificates) == 0 || len(p.Certificates) > maxCerts {
		return nil, lh.Errorf(lh.Invalid, "the PKCS#7 message is not 1 to %d certificates and nothing else", maxCerts)
	}
	return p.Certificates, nil
}

// checkDER accepts a run of DER values, definite and minimal in their lengths and at most maxDepth deep.
func checkDER(der []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("more than %d levels", maxDepth)
	}
	if depth == 0 && len(der) == 0 {
		return fmt.Errorf("empty")
	}
	for first := true; len(der) > 0; first = false {
		if depth == 0 && !first {
			return fmt.Errorf("%d bytes follow the message", len(der))
		}
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return err
		}
		if v.IsCompound {
			if err := checkDER(v.Bytes, depth+1); err != nil {
				return err
			}
		}
		der = rest
	}
	return nil
}

// EncodeEST is the body of an EST message (RFC 8951): base64 in one unbroken line. Some clients read no further than
// the first line break, so there is none, not even at the end.
func EncodeEST(der []byte) []byte {
	return base64.StdEncoding.AppendEncode(nil, der)
}

// DecodeEST reads the body of an EST message, with or without line breaks, of at most 96 KiB.
func DecodeEST(body []byte) ([]byte, error) {
	if len(body) > maxESTBody {
		return nil, lh.Errorf(lh.Invalid, "the EST message has %d bytes; at most %d are taken", len(body), maxESTBody)
	}
	line := bytes.Map(func(r rune) rune {
		switch r {
		case '\r', '\n', ' ', '\t':
			return -1
		}
		return r
	}, body)
	der, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
	if err != nil {
		return nil, lh.Hide(lh.Invalid, err, "the EST message is not base64")
	}
	if len(der) == 0 {
		return nil, lh.Errorf(lh.Invalid, "the EST message is empty")
	}
	return der, nil
}
