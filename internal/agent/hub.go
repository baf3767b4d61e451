package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	dialTime    = 15 * time.Second
	askTime     = 30 * time.Second // enrolment, manifest
	batchTime   = 90 * time.Second // the hub gives up a body after two minutes
	maxAnswer   = 64 << 10
	maxESTReply = 96 << 10
	// maxRetryAfter bounds what the hub can ask for: a slip there must not silence a fleet.
	maxRetryAfter = time.Hour
)

// Dial opens a connection; tests put a faulty network behind it.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// hub is the hub as this device sees it over HTTPS. It is safe for concurrent use.
type hub struct {
	base      string
	client    *http.Client
	transport *http.Transport
	clock     *clock
	version   string
	askTime   time.Duration
	batchTime time.Duration
}

// newHub makes a client that shows the certificate that certificate gives, if any.
func newHub(c *Config, roots []*x509.Certificate, k *clock, dial Dial, version string,
	certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (*hub, error) {
	host := c.Hub.Name
	if host == "" {
		host = hostOf(c.Hub.HTTPS)
	}
	conf, err := deviceTLS(host, roots, k, []string{"h2", "http/1.1"}, certificate)
	if err != nil {
		return nil, err
	}
	h := &hub{base: strings.TrimSuffix(c.Hub.HTTPS, "/"), clock: k, version: version, askTime: askTime, batchTime: batchTime}
	h.transport = &http.Transport{
		DialContext: dial, TLSClientConfig: conf, TLSHandshakeTimeout: dialTime, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxIdleConns: 1, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
		// A dead link is found by asking, not by waiting for TCP to give up.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 15 * time.Second},
	}
	h.client = &http.Client{Transport: h.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return h, nil
}

func deviceTLS(host string, roots []*x509.Certificate, k *clock, protos []string,
	certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) (*tls.Config, error) {
	return pki.DeviceTLS(pki.DeviceOptions{Host: host, Roots: roots, Certificate: certificate, NextProtos: protos,
		Now: k.Now, Floor: k.Floor, Unsure: k.Unsure})
}

// refusal is an error answer of the hub.
type refusal struct {
	status  int
	code    lh.Code // "" when the answer was no problem document: of something between us and the hub
	message string
	after   time.Duration // Retry-After; 0 when not said
}

func (r *refusal) Error() string {
	code := string(r.code)
	if code == "" {
		code = "status " + strconv.Itoa(r.status)
	}
	if r.message == "" {
		return "the hub refused: " + code
	}
	return "the hub refused: " + code + ": " + r.message
}

// errLie is an answer that is none: unreadable, or about something else than what was asked.
var errLie = errors.New("the hub's answer makes no sense")

// close lets go of the connections, so that the next request dials anew.
func (h *hub) close() { h.transport.CloseIdleConnections() }

// ask sends one request and reads the whole answer, both bounded.
func (h *hub) ask(ctx context.Context, path, media string, body []byte, limit int64, edit func(*http.Request)) ([]byte, *x509.Certificate, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", media)
	req.Header.Set("User-Agent", "loggerhead-agent/"+h.version)
	if edit != nil {
		edit(req)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		h.close() // whatever broke: a fresh connection next time
		return nil, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	err = errors.Join(err, resp.Body.Close())
	if err != nil {
		h.close()
		return nil, nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, h.refused(resp, answer)
	}
	if int64(len(answer)) > limit {
		return nil, nil, fmt.Errorf("%w: it is larger than %d bytes", errLie, limit)
	}
	if resp.TLS == nil || len(resp.TLS.PeerCertificates) == 0 {
		return nil, nil, fmt.Errorf("%w: it came without TLS", errLie)
	}
	return answer, resp.TLS.PeerCertificates[0], nil
}

func (h *hub) refused(resp *http.Response, body []byte) error {
	r := &refusal{status: resp.StatusCode, after: retryAfter(resp.Header.Get("Retry-After"), h.clock.Now())}
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && t == "application/problem+json" {
		var p struct {
			Detail string  `json:"detail"`
			Code   lh.Code `json:"code"`
		}
		if json.Unmarshal(body, &p) == nil && p.Code.HTTPStatus() == resp.StatusCode {
			r.code, r.message = p.Code, printable(p.Detail)
		}
	}
	return r
}

// retryAfter reads seconds or an HTTP date (RFC 9110, 10.2.3), bounded.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// printable makes a text of the hub fit for a log line.
func printable(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}

// batch uploads a batch of records first to last. The acknowledged position it returns lies within them.
func (h *hub) batch(ctx context.Context, payload []byte, first, last uint32) (through uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.batchTime)
	defer cancel()
	b, cert, err := h.ask(ctx, "/v1/batch", wire.ContentBatch, payload, maxAnswer, nil)
	if err != nil {
		return 0, err
	}
	var ack struct {
		AckedThrough *uint32    `json:"acked_through"`
		Time         *lh.Millis `json:"time"`
	}
	if err := json.Unmarshal(b, &ack); err != nil || ack.AckedThrough == nil || ack.Time == nil {
		return 0, fmt.Errorf("%w: it is no acknowledgement", errLie)
	}
	if *ack.AckedThrough > last || *ack.AckedThrough+1 < first {
		return 0, fmt.Errorf("%w: it acknowledges through %d what was %d to %d", errLie, *ack.AckedThrough, first, last)
	}
	h.clock.hear(*ack.Time, cert)
	return *ack.AckedThrough, nil
}

// manifest tells what this device is; the hub answers with who it is.
func (h *hub) manifest(ctx context.Context, m []byte) (wire.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, h.askTime)
	defer cancel()
	var w wire.Welcome
	b, cert, err := h.ask(ctx, "/v1/manifest", wire.ContentJSON, m, maxAnswer, nil)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal(b, &w); err != nil || !w.Device.Valid() {
		return w, fmt.Errorf("%w: it is no welcome", errLie)
	}
	h.clock.hear(w.Time, cert)
	return w, nil
}

// enroll asks for the first certificate by serial and claim code (RFC 7030, 4.2.1 with 3.2.3).
func (h *hub) enroll(ctx context.Context, serial, code string, csr []byte) ([]*x509.Certificate, error) {
	return h.est(ctx, "/.well-known/est/simpleenroll", csr, func(r *http.Request) { r.SetBasicAuth(serial, code) })
}

// reenroll asks for the next certificate by the present one (RFC 7030, 4.2.2).
func (h *hub) reenroll(ctx context.Context, csr []byte) ([]*x509.Certificate, error) {
	return h.est(ctx, "/.well-known/est/simplereenroll", csr, nil)
}

func (h *hub) est(ctx context.Context, path string, csr []byte, edit func(*http.Request)) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, h.askTime)
	defer cancel()
	b, _, err := h.ask(ctx, path, "application/pkcs10", pki.EncodeEST(csr), maxESTReply, edit)
	if err != nil {
		return nil, err
	}
	der, err := pki.DecodeEST(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLie, err)
	}
	certs, err := pki.ParseCertsOnly(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLie, err)
	}
	return certs, nil
}
