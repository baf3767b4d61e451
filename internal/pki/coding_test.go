package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

func TestParseRequestRefuses(t *testing.T) {
	good, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewRequest(good, "serial 4711")
	if err != nil {
		t.Fatal(err)
	}
	if csr, err := ParseRequest(der); err != nil || csr.Subject.CommonName != "serial 4711" {
		t.Fatal(err)
	}
	make := func(key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	tampered := bytes.Replace(der, []byte("serial 4711"), []byte("serial 4712"), 1)
	big, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{strings.Repeat("a", MaxRequest)}}, good)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"P-384": make(p384), "Ed25519": make(ed), "RSA": make(rsaKey), "tampered": tampered, "too large": big,
		"empty": nil, "cut": der[:len(der)-1], "trailing": append(bytes.Clone(der), 0), "text": []byte("hello"),
	} {
		if _, err := ParseRequest(der); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewRequest(p384, "x"); err == nil {
		t.Error("a request for P-384 was made")
	}
}

func TestPEM(t *testing.T) {
	h := hierarchy(t, noon)
	cert, key, err := h.Hub.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseKeyPair(append([]byte("\n"), cert...), append(key, '\n'))
	if err != nil || !back.Cert.Equal(h.Hub.Cert) || !back.Key.(*ecdsa.PrivateKey).Equal(h.Hub.Key) {
		t.Fatalf("round trip: %v", err)
	}
	bundle := MarshalCertsPEM(h.Root.Cert, h.Hub.Cert)
	if certs, err := ParseCertsPEM(bundle); err != nil || len(certs) != 2 {
		t.Fatalf("bundle: %d, %v", len(certs), err)
	}
	if _, err := ParseCertPEM(bundle); err == nil {
		t.Error("two certificates taken for one")
	}
	otherCert, otherKey, _ := h.Root.MarshalPEM()
	if _, err := ParseKeyPair(cert, otherKey); err == nil {
		t.Error("key of another certificate accepted")
	}
	if _, err := ParseKeyPair(otherCert, key); err == nil {
		t.Error("certificate of another key accepted")
	}
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	edPEM, _ := MarshalKeyPEM(ed)
	broken := bytes.Replace(cert, []byte("\nM"), []byte("\n!"), 1)
	many := MarshalCertsPEM(h.Root.Cert)
	many = bytes.Repeat(many, maxCerts+1)
	for name, data := range map[string][]byte{
		"empty": nil, "space": []byte(" \n"), "junk before": append([]byte("x\n"), cert...), "junk after": append(bytes.Clone(cert), 'x'),
		"junk between": append(append(bytes.Clone(cert), "x\n"...), cert...), "key": key, "cut": cert[:len(cert)-10], "broken": broken,
		"broken, then whole": append(bytes.Clone(broken), cert...), "cert and key": append(bytes.Clone(cert), key...), "many": many,
		"headers": bytes.Replace(cert, []byte("-----\n"), []byte("-----\nA: b\n\n"), 1), "huge": bytes.Repeat([]byte("\n"), maxPEM+1),
	} {
		if _, err := ParseCertsPEM(data); err == nil {
			t.Errorf("certificates, %s: accepted", name)
		}
	}
	for name, data := range map[string][]byte{
		"empty": nil, "cert": cert, "two": append(bytes.Clone(key), key...), "junk": append(bytes.Clone(key), 'x'), "cut": key[:len(key)-8],
		"Ed25519": edPEM, "encrypted": bytes.ReplaceAll(key, []byte("PRIVATE KEY"), []byte("ENCRYPTED PRIVATE KEY")),
	} {
		if _, err := ParseKeyPEM(data); err == nil {
			t.Errorf("key, %s: accepted", name)
		}
	}
}

func TestCertsOnly(t *testing.T) {
	h := hierarchy(t, noon)
	der, err := CertsOnly(h.Devices.Cert, h.Root.Cert)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := ParseCertsOnly(der)
	if err != nil || len(certs) != 2 || !certs[0].Equal(h.Devices.Cert) || !certs[1].Equal(h.Root.Cert) {
		t.Fatalf("round trip: %d, %v", len(certs), err)
	}
	if _, err := CertsOnly(); err == nil {
		t.Error("an empty message was made")
	}
	deep := []byte{0x30, 0}
	for range 1000 {
		v, err := asn1.Marshal(asn1.RawValue{Tag: 16, IsCompound: true, Bytes: deep})
		if err != nil {
			t.Fatal(err)
		}
		deep = v
	}
	for name, der := range map[string][]byte{
		"empty": nil, "cut": der[:len(der)-1], "trailing": append(bytes.Clone(der), 0, 0), "deep": deep,
		"indefinite": {0x30, 0x80, 0, 0}, "certificate": h.Root.Cert.Raw, "huge": make([]byte, maxPKCS7+1),
	} {
		if _, err := ParseCertsOnly(der); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed; only our own reading was checked")
	}
	file := filepath.Join(t.TempDir(), "certs.p7")
	if err := os.WriteFile(file, der, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(openssl, "pkcs7", "-inform", "DER", "-in", file, "-print_certs").CombinedOutput()
	if err != nil || strings.Count(string(out), "BEGIN CERTIFICATE") != 2 {
		t.Errorf("openssl: %v %s", err, out)
	}
	// And the other way: a message that OpenSSL made.
	if err := os.WriteFile(file, MarshalCertsPEM(h.Root.Cert, h.Hub.Cert), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs, err := exec.Command(openssl, "crl2pkcs7", "-nocrl", "-certfile", file, "-outform", "DER").Output()
	if err != nil {
		t.Fatal(err)
	}
	if certs, err := ParseCertsOnly(theirs); err != nil || len(certs) != 2 || !certs[1].Equal(h.Hub.Cert) {
		t.Errorf("OpenSSL's message: %d, %v", len(certs), err)
	}
}

func TestEST(t *testing.T) {
	der := bytes.Repeat([]byte{0xfb, 0xff, 1}, 500)
	line := EncodeEST(der)
	if bytes.ContainsAny(line, "\r\n -_") {
		t.Error("EST body is not one unbroken base64 line")
	}
	wrapped := []byte{}
	for i, c := range line {
		if i%64 == 0 {
			wrapped = append(wrapped, "\r\n"...)
		}
		wrapped = append(wrapped, c)
	}
	for _, body := range [][]byte{line, wrapped, append(bytes.Clone(line), '\n')} {
		if got, err := DecodeEST(body); err != nil || !bytes.Equal(got, der) {
			t.Errorf("decode: %v", err)
		}
	}
	for name, body := range map[string][]byte{"empty": nil, "space": []byte("\n"), "not base64": []byte("%%%%"), "cut": line[:len(line)-1],
		"unused bits": []byte("QR=="), "huge": bytes.Repeat([]byte("AAAA"), maxESTBody/4+1)} {
		if _, err := DecodeEST(body); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCertsOnly(f *testing.F) {
	h := hierarchy(f, noon)
	der, err := CertsOnly(h.Devices.Cert, h.Root.Cert)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add(der[:100])
	f.Add([]byte{0x30, 0x80, 0x24, 0x80, 0, 0, 0, 0})
	f.Add([]byte{0x1f, 0xff})
	f.Fuzz(func(t *testing.T, der []byte) {
		certs, err := ParseCertsOnly(der)
		if err != nil {
			return
		}
		again, err := CertsOnly(certs...)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back, err := ParseCertsOnly(again); err != nil || len(back) != len(certs) {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}

func FuzzParseRequest(f *testing.F) {
	key, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	der, err := NewRequest(key, "x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, err := ParseRequest(der)
		if err == nil && checkKey(csr.PublicKey) != nil {
			t.Fatal("a foreign key got through")
		}
	})
}

func FuzzDecodeEST(f *testing.F) {
	f.Add([]byte("QUJD\nREVG"))
	f.Add([]byte("QQ=="))
	f.Fuzz(func(t *testing.T, body []byte) {
		der, err := DecodeEST(body)
		if err != nil {
			return
		}
		if back, err := DecodeEST(EncodeEST(der)); err != nil || !bytes.Equal(back, der) {
			t.Fatal(err)
		}
	})
}

func FuzzParsePEM(f *testing.F) {
	h := hierarchy(f, noon)
	cert, key, err := h.Hub.MarshalPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(bytes.Clone(cert), cert...))
	f.Add(key)
	f.Fuzz(func(t *testing.T, data []byte) {
		if certs, err := ParseCertsPEM(data); err == nil {
			if back, err := ParseCertsPEM(MarshalCertsPEM(certs...)); err != nil || len(back) != len(certs) {
				t.Fatal(err)
			}
		}
		if k, err := ParseKeyPEM(data); err == nil {
			if checkKey(k.Public()) != nil {
				t.Fatal("a foreign key got through")
			}
		}
	})
}
