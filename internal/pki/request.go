package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// MaxRequest bounds a certificate request, in bytes of DER.
const MaxRequest = 8 << 10

// NewRequest makes a PKCS#10 request for the key. The common name is only what a reader of the request sees.
func NewRequest(key crypto.Signer, commonName string) ([]byte, error) {
	if err := checkKey(key.Public()); err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:            pkix.Name{CommonName: commonName},
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// ParseRequest reads a PKCS#10 request of at most [MaxRequest] bytes: a P-256 key that signed the request (proof that
// the asker has it). Errors are [lh.Invalid] and may be shown.
func ParseRequest(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > MaxRequest {
		return nil, lh.Errorf(lh.Invalid, "the certificate request has %d bytes; at most %d are taken", len(der), MaxRequest)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, lh.Hide(lh.Invalid, err, "the certificate request is not PKCS#10 in DER")
	}
	if err := checkRequest(csr); err != nil {
		return nil, err
	}
	return csr, nil
}

func checkRequest(csr *x509.CertificateRequest) error {
	if err := checkKey(csr.PublicKey); err != nil {
		return lh.Errorf(lh.Invalid, "the certificate request cannot be used: %v", err)
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return lh.Errorf(lh.Invalid, "the certificate request is signed by %s; use ECDSA with SHA-256", csr.SignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return lh.Hide(lh.Invalid, err, "the certificate request is not signed by its own key")
	}
	return nil
}
