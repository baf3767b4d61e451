package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// enroll asks for a certificate as the agent does. user and code "" is a renewal.
func enroll(t testing.TB, h *hub, c *http.Client, user, code string, csr []byte) (*http.Response, []byte) {
	t.Helper()
	path := "/.well-known/est/simplereenroll"
	if user != "" {
		path = "/.well-known/est/simpleenroll"
	}
	req, err := http.NewRequest(http.MethodPost, h.url(path), bytes.NewReader(pki.EncodeEST(csr)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	req.Header.Set("Content-Transfer-Encoding", "base64")
	if user != "" {
		req.SetBasicAuth(user, code)
	}
	r, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return r, readAll(t, r)
}

// wantCerts checks the form of an answer with certificates and returns them.
func wantCerts(t testing.TB, r *http.Response, body []byte) []*x509.Certificate {
	t.Helper()
	if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/pkcs7-mime") ||
		r.Header.Get("Content-Transfer-Encoding") != "base64" || r.ContentLength != int64(len(body)) || bytes.ContainsAny(body, "\r\n ") {
		t.Fatalf("%d %v %q", r.StatusCode, r.Header, body)
	}
	der, err := pki.DecodeEST(body)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pki.ParseCertsOnly(der)
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

func newKey(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.NewRequest(key, "whatever I like")
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

func TestEnrolment(t *testing.T) {
	each(t, func(t *testing.T, h *hub) {
		stranger := h.client(nil, true)
		r, err := stranger.Get(h.url("/.well-known/est/cacerts"))
		if err != nil {
			t.Fatal(err)
		}
		if cas := wantCerts(t, r, readAll(t, r)); len(cas) != 2 || !cas[0].Equal(h.h.Root.Cert) || !cas[1].Equal(h.h.Devices.Cert) {
			t.Errorf("cacerts: %v", cas)
		}
		serial, code := h.claimed()
		key, csr := newKey(t)
		r, body := enroll(t, h, stranger, serial, strings.ToLower(code), csr) // as somebody types it
		certs := wantCerts(t, r, body)
		if len(certs) != 1 || r.Header.Get("Content-Type") != "application/pkcs7-mime; smime-type=certs-only" {
			t.Fatalf("%s, %d certificates", r.Header.Get("Content-Type"), len(certs))
		}
		if !key.PublicKey.Equal(certs[0].PublicKey) {
			t.Error("a certificate for another key")
		}
		id, err := pki.DeviceID(certs[0])
		if err != nil {
			t.Fatal(err)
		}
		l := &logger{id, key, certs[0]}
		// The answer may get lost on its way: the same key asks again. Another key does not get in with the used code.
		r, body = enroll(t, h, stranger, serial, code, csr)
		wantCerts(t, r, body)
		_, other := newKey(t)
		r, body = enroll(t, h, stranger, serial, code, other)
		wantProblem(t, r, body, lh.Unauthenticated, 401)

		if r, body := post(t, h.client(l, true), h.url("/v1/batch"), wire.ContentBatch, batch(7, 1, 3)); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
		// Renewal, with a new key: the old certificate and the new one both stand.
		next, csr := newKey(t)
		r, body = enroll(t, h, h.client(l, false), "", "", csr)
		certs = wantCerts(t, r, body)
		if again, err := pki.DeviceID(certs[0]); err != nil || again != id || !next.PublicKey.Equal(certs[0].PublicKey) {
			t.Errorf("renewed as %s: %v", again, err)
		}
		for _, l := range []*logger{l, {id, next, certs[0]}} {
			if r, body := post(t, h.client(l, true), h.url("/v1/batch"), wire.ContentBatch, batch(7, 4, 3)); r.StatusCode != 200 {
				t.Errorf("%d %s", r.StatusCode, body)
			}
		}
	})
}

func TestEnrolmentRefusals(t *testing.T) {
	h := newHub(t, nil)
	stranger := h.client(nil, false)
	serial, code := h.claimed()
	_, csr := newKey(t)
	free, err := h.fleet.List(context.Background(), "LH-FREE", "lh-test-1")
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		user, code string
		csr        []byte
		want       lh.Code
	}{
		"wrong code":          {serial, "0000-0000-0000-0000-0000", csr, lh.Unauthenticated},
		"unlisted serial":     {"LH-NONE", code, csr, lh.Unauthenticated},
		"no serial at all":    {"'; DROP TABLE device; --", code, csr, lh.Unauthenticated},
		"claimed by nobody":   {"LH-FREE", free, csr, lh.Forbidden},
		"a request that lies": {serial, code, append(bytes.Clone(csr[:len(csr)-1]), csr[len(csr)-1]^1), lh.Invalid},
		"no request":          {serial, code, []byte("hello"), lh.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := enroll(t, h, stranger, x.user, x.code, x.csr)
			wantProblem(t, r, body, x.want, x.want.HTTPStatus())
			if asks := r.Header.Get("WWW-Authenticate") != ""; asks != (x.want == lh.Unauthenticated) {
				t.Errorf("WWW-Authenticate: %q", r.Header.Get("WWW-Authenticate"))
			}
		})
	}
	// A device's certificate is no substitute for the code, and a claim code none for the certificate.
	l := h.logger()
	req, err := http.NewRequest(http.MethodPost, h.url("/.well-known/est/simpleenroll"), bytes.NewReader(pki.EncodeEST(csr)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/pkcs10")
	r, err := h.client(l, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, r, readAll(t, r), lh.Unauthenticated, 401)
	if !strings.HasPrefix(r.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("WWW-Authenticate: %q", r.Header.Get("WWW-Authenticate"))
	}
	// A revoked device does not renew: its handshake fails.
	if err := h.fleet.Revoke(context.Background(), h.owner, l.id); err != nil {
		t.Fatal(err)
	}
	if r, err := h.client(l, true).Post(h.url("/.well-known/est/simplereenroll"), "application/pkcs10", bytes.NewReader(pki.EncodeEST(csr))); err == nil {
		t.Errorf("a revoked device renews: %s", r.Status)
	}
}

// TestEnrolmentTriesAreBounded: failures are counted and successes are not.
func TestEnrolmentTriesAreBounded(t *testing.T) {
	h := newHub(t, nil)
	stranger := h.client(nil, true)
	serial, code := h.claimed()
	_, csr := newKey(t)
	for range 40 {
		if r, body := enroll(t, h, stranger, serial, code, csr); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
	}
	refused := 0
	for range 40 {
		r, body := enroll(t, h, stranger, serial, "0000-0000-0000-0000-0000", csr)
		if r.StatusCode == 429 {
			wantProblem(t, r, body, lh.Exhausted, 429)
			refused++
		}
	}
	if refused < 15 {
		t.Errorf("%d of 40 wrong codes were refused unseen", refused)
	}
	if r, body := enroll(t, h, stranger, serial, code, csr); r.StatusCode != 429 {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	h.ahead.Store(int64(time.Minute))
	if r, body := enroll(t, h, stranger, serial, code, csr); r.StatusCode != 200 {
		t.Errorf("a minute later: %d %s", r.StatusCode, body)
	}
}

// TestAnswerIsOneRecord: a small client reads an answer in one go, and takes what it gets for the whole.
func TestAnswerIsOneRecord(t *testing.T) {
	h := newHub(t, nil)
	c, err := tls.Dial("tcp", h.https, h.tls(nil, "http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /.well-known/est/cacerts HTTP/1.1\r\nHost: hub\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32<<10)
	n, err := c.Read(buf) // gives no more than one record
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(buf[:n])), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantCerts(t, r, readAll(t, r))
}

// program runs a foreign program in dir and returns what it printed. Without the program the test is skipped, or fails
// where every test has to run.
func program(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("LOGGERHEAD_TEST_ALL") == "1" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "STRONGSWAN_CONF="+filepath.Join(dir, "strongswan.conf"), "HOME="+dir)
	out, err := c.CombinedOutput()
	return string(out), err
}

func mustRun(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := program(t, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// folder holds what a device of foreign programs has on its disk: the root, and nothing else yet.
func (h *hub) folder(t *testing.T) string {
	dir := t.TempDir()
	write(t, dir, "root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.h.Root.Cert.Raw}))
	return dir
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCurlAndOpenssl goes the whole way of docs/protocol.md with nothing but curl and openssl.
func TestCurlAndOpenssl(t *testing.T) {
	h := newHub(t, nil)
	dir := h.folder(t)
	serial, code := h.claimed()
	mustRun(t, dir, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem")
	mustRun(t, dir, "openssl", "req", "-new", "-key", "key.pem", "-subj", "/CN="+serial, "-outform", "DER", "-out", "csr.der")
	mustRun(t, dir, "openssl", "base64", "-in", "csr.der", "-out", "csr.b64")
	mustRun(t, dir, "curl", "-sS", "--fail-with-body", "--cacert", "root.pem", "-u", serial+":"+code, "-H", "Content-Type: application/pkcs10",
		"--data-binary", "@csr.b64", "-o", "cert.b64", h.url("/.well-known/est/simpleenroll"))
	mustRun(t, dir, "openssl", "base64", "-d", "-A", "-in", "cert.b64", "-out", "cert.p7")
	mustRun(t, dir, "openssl", "pkcs7", "-inform", "DER", "-in", "cert.p7", "-print_certs", "-out", "cert.pem")
	write(t, dir, "batch.json", []byte(`{"records":[{"t":1700000000000,"v":{"1/level":1.25,"1/temperature":null}}]}`))
	write(t, dir, "batch.bin", batch(9, 1, 10))
	for _, version := range []string{"--http1.1", "--http2"} {
		out := mustRun(t, dir, "curl", "-sS", "--fail-with-body", version, "--cacert", "root.pem", "--cert", "cert.pem", "--key", "key.pem",
			"-H", "Content-Type: application/json", "--data-binary", "@batch.json", h.url("/v1/batch"))
		if !strings.Contains(out, `"acked_through":0,`) {
			t.Error(out)
		}
		out = mustRun(t, dir, "curl", "-sS", "--fail-with-body", version, "--cacert", "root.pem", "--cert", "cert.pem", "--key", "key.pem",
			"-H", "Content-Type: application/vnd.loggerhead.batch", "--data-binary", "@batch.bin", h.url("/v1/batch"))
		if !strings.Contains(out, `"acked_through":10,`) {
			t.Error(out)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.ParseCertPEM(raw[bytes.Index(raw, []byte("-----BEGIN")):])
	if err != nil {
		t.Fatal(err)
	}
	id, err := pki.DeviceID(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.samples(id, "1/level"); len(got) != 11 || got[0].Value != 1.25 || got[10].Value != 10 {
		t.Errorf("%v", got)
	}
	// What is refused reads as a problem, and no other version of TLS is spoken.
	out, err := program(t, dir, "curl", "-sS", "--cacert", "root.pem", "-H", "Content-Type: application/json", "--data-binary", "@batch.json", h.url("/v1/batch"))
	if err != nil || !strings.Contains(out, `"code":"unauthenticated"`) {
		t.Errorf("without a certificate: %s %v", out, err)
	}
	if out, err = program(t, dir, "curl", "-sS", "--tls-max", "1.2", "--cacert", "root.pem", h.url("/.well-known/est/cacerts")); err == nil {
		t.Errorf("TLS 1.2: %s", out)
	}
	// Renewal.
	mustRun(t, dir, "curl", "-sS", "--fail-with-body", "--cacert", "root.pem", "--cert", "cert.pem", "--key", "key.pem", "-H", "Content-Type: application/pkcs10",
		"--data-binary", "@csr.b64", "-o", "next.b64", h.url("/.well-known/est/simplereenroll"))
	mustRun(t, dir, "openssl", "base64", "-d", "-A", "-in", "next.b64", "-out", "next.p7")
	if out := mustRun(t, dir, "openssl", "pkcs7", "-inform", "DER", "-in", "next.p7", "-print_certs"); !strings.Contains(out, url.PathEscape(string(id))) {
		t.Errorf("the renewed certificate is not of %s: %s", id, out)
	}
}

// TestStrongSwan enrols and renews with another EST client, which knows nothing of Loggerhead.
func TestStrongSwan(t *testing.T) {
	h := newHub(t, nil)
	dir := h.folder(t)
	write(t, dir, "strongswan.conf", []byte("libtls {\n  version_min = 1.3\n  version_max = 1.3\n}\npki {\n  load = random nonce x509 revocation pubkey pkcs1 pkcs7 pkcs8 pem openssl hmac kdf sha1 sha2\n}\n"))
	serial, code := h.claimed()
	out, err := program(t, dir, "pki", "--gen", "--type", "ecdsa", "--size", "256", "--outform", "pem")
	if err != nil && strings.Contains(out, "failed") && os.Getenv("LOGGERHEAD_TEST_ALL") != "1" {
		t.Skipf("pki makes no P-256 key; libstrongswan-standard-plugins is not installed: %s", out)
	}
	if err != nil {
		t.Fatalf("pki --gen (is libstrongswan-standard-plugins installed?): %v\n%s", err, out)
	}
	write(t, dir, "key.pem", []byte(out[strings.Index(out, "-----BEGIN"):]))
	sh := func(line string) {
		t.Helper()
		mustRun(t, dir, "sh", "-ec", line)
	}
	base := "https://localhost:" + h.https[strings.LastIndex(h.https, ":")+1:]
	sh("pki --req --in key.pem --type ecdsa --dn 'CN=" + serial + "' --outform der > csr.der")
	sh("pki --estca --url " + base + " --cacert root.pem --caout ca.pem --outform pem --force")
	sh("pki --est --url " + base + " --in csr.der --cacert root.pem --userpass '" + serial + ":" + code + "' --outform pem > cert.pem")
	sh("pki --est --url " + base + " --in csr.der --cacert root.pem --cert cert.pem --key key.pem --outform pem > next.pem")
	c1, c2 := readCert(t, dir, "cert.pem"), readCert(t, dir, "next.pem")
	id, err := pki.DeviceID(c1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.DeviceID(c2)
	if err != nil || again != id || c1.SerialNumber.Cmp(c2.SerialNumber) == 0 {
		t.Errorf("renewed as %s: %v", again, err)
	}
	if out, err := program(t, dir, "sh", "-ec", "pki --est --url "+base+" --in csr.der --cacert root.pem --userpass '"+serial+":0000' --outform pem"); err == nil {
		t.Errorf("enrolled with a wrong code: %s", out)
	}
}

func readCert(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	c, err := pki.ParseCertPEM(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}
