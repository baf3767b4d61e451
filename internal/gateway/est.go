package gateway

import (
	"crypto/x509"
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

// Enrolment over secure transport, RFC 7030 as amended by RFC 8951.
const (
	estRequest = "application/pkcs10"
	estCerts   = "application/pkcs7-mime"
	// maxESTBody holds the base64 of the greatest request, broken into lines.
	maxESTBody = 16 << 10
	// maxEnrolling bounds enrolments under way at once, each of which signs and writes.
	maxEnrolling = 16
)

func (g *Gateway) caCerts(w http.ResponseWriter, _ *http.Request) error {
	return writeCerts(w, estCerts, g.cfg.CACerts()...)
}

// enroll gives a device its first certificate, for the serial and the one-time claim code on its box.
func (g *Gateway) enroll(w http.ResponseWriter, r *http.Request) (err error) {
	serial, code, ok := r.BasicAuth()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="serial and claim code", charset="UTF-8"`)
		return lh.Errorf(lh.Unauthenticated, "enrol with the serial as user name and the claim code as password")
	}
	remote := access.Network(r.RemoteAddr)
	if !g.tries.take(g.now(), remote) {
		return lh.Errorf(lh.Exhausted, "too many failed enrolments from this address; wait a minute")
	}
	defer func() {
		switch lh.CodeOf(err) {
		case lh.Unauthenticated:
			g.log.WarnContext(r.Context(), "enrolment refused", "remote", r.RemoteAddr)
			w.Header().Set("WWW-Authenticate", `Basic realm="serial and claim code", charset="UTF-8"`)
		case "", lh.Forbidden, lh.Unavailable, lh.Internal: // done; not claimed yet, but with the right code; our fault
			g.tries.giveBack(remote)
		}
	}()
	csr, err := g.request(r)
	if err != nil {
		return err
	}
	select {
	case g.enrolling <- struct{}{}:
		defer func() { <-g.enrolling }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	c, err := g.cfg.Enroll(r.Context(), serial, code, csr)
	if err != nil {
		return err
	}
	return writeCerts(w, estCerts+"; smime-type=certs-only", c)
}

// reenroll renews the certificate of a device that shows its present one.
func (g *Gateway) reenroll(w http.ResponseWriter, r *http.Request, d access.Device) error {
	csr, err := g.request(r)
	if err != nil {
		return err
	}
	c, err := g.cfg.Reenroll(r.Context(), d.Scope, d.ID, csr)
	if err != nil {
		return err
	}
	return writeCerts(w, estCerts+"; smime-type=certs-only", c)
}

// request reads the certificate request of an EST body.
func (g *Gateway) request(r *http.Request) ([]byte, error) {
	body, done, err := g.body(r, maxESTBody, estRequest)
	defer done()
	if err != nil {
		return nil, err
	}
	return pki.DecodeEST(body)
}

// writeCerts answers with certificates only, as one line of base64 with its length: there are clients that read no
// further than the first line break, and none of chunks.
func writeCerts(w http.ResponseWriter, media string, certs ...*x509.Certificate) error {
	der, err := pki.CertsOnly(certs...)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Transfer-Encoding", "base64")
	write(w, http.StatusOK, media, pki.EncodeEST(der))
	return nil
}
