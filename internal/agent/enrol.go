package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

const (
	renewWait = time.Minute
	renewMax  = 2 * time.Hour
)

var (
	errNoCode  = lh.Errorf(lh.Unauthenticated, "this device is not enrolled and has no claim code; put the code from its label into the claim code file")
	errExpired = lh.Errorf(lh.Unauthenticated, "this device's certificate has expired; put a new claim code into the claim code file")
)

// enrol gets a certificate by serial and claim code where there is none that is worth anything: at first, when it has
// expired, or when the hub says that this device may not and there is a claim code that was not used yet. The code is
// read anew each time, so that a new one can be put there while the program runs.
func (u *uplink) enrol(ctx context.Context) error {
	cert := u.id.cert.Load()
	expired := cert != nil && !u.clock.Unsure() && u.clock.Now().After(cert.NotAfter)
	if cert != nil && !expired && !u.mayNot {
		return nil
	}
	code, err := readClaimCode(u.cfg.ClaimCodeFile)
	if err != nil && (cert == nil || expired) {
		return err
	}
	switch {
	case code != "" && !u.id.claimed(code):
	case expired:
		return errExpired
	case cert == nil && code == "":
		return errNoCode
	case cert == nil: // used, and the certificate was lost
		return lh.Errorf(lh.Unauthenticated, "the claim code in %s is used up, and its certificate is lost; put a new code there", u.cfg.ClaimCodeFile)
	default: // the hub may change its mind about the certificate
		return nil
	}
	h, err := u.as(nil) // a certificate that is expired or revoked would not be let in
	if err != nil {
		return err
	}
	defer h.close()
	p, err := enrol(ctx, h, u.id, u.cfg.Serial, code)
	if err != nil {
		return err
	}
	u.log.Info("enrolled", "device", u.id.device(), "not_after", p.Cert.NotAfter)
	u.identityChanged()
	return nil
}

// enrol asks for a certificate and keeps it, durably, before it returns.
func enrol(ctx context.Context, h *hub, id *identity, serial, code string) (*pki.KeyPair, error) {
	key, err := id.pending()
	if err != nil {
		return nil, fmt.Errorf("make device key: %w", err)
	}
	csr, err := pki.NewRequest(key, serial)
	if err != nil {
		return nil, err
	}
	certs, err := h.enroll(ctx, serial, code, csr)
	if r, ok := errors.AsType[*refusal](err); ok && r.code == lh.Conflict {
		return nil, errors.Join(fmt.Errorf("enrol: %w", err), id.forget()) // this key cannot have a certificate; the next one may
	}
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	p, err := accept(certs, key)
	if err != nil {
		return nil, fmt.Errorf("enrol: %w", err)
	}
	if err := id.settle(p); err != nil {
		return nil, fmt.Errorf("keep certificate: %w", err)
	}
	return p, id.setClaimed(code)
}

// identityChanged makes every connection begin anew, and says so.
func (u *uplink) identityChanged() {
	u.mayNot = false
	u.refused.reset()
	u.hub.close()
	if u.live != nil {
		u.live.changed()
	}
	select {
	case u.renewed <- struct{}{}:
	default: // it is known already, or nobody asks
	}
}

// renew renews the certificate when it is time. The new one has a key of its own; the old one stays until the hub has
// answered a request that was made with the new. A failure is tried again later and keeps nothing else waiting.
func (u *uplink) renew(ctx context.Context) {
	cert := u.id.cert.Load()
	if cert == nil || u.clock.Unsure() || u.now().Before(u.renewAt) {
		return
	}
	next, err := u.id.staged()
	if err != nil { // of no use, and another can be had
		u.log.Warn("a renewed certificate was damaged", "err", err)
		err = u.id.dropStaged()
	}
	if err == nil && next == nil {
		if u.clock.Now().Before(pki.RenewAt(cert)) {
			return
		}
		next, err = u.reenrol(ctx)
	}
	if err == nil {
		err = u.tryOut(ctx, next)
	}
	if err == nil {
		u.renewals.reset()
		u.log.Info("certificate renewed", "not_after", next.Cert.NotAfter)
		u.identityChanged()
		return
	}
	if ctx.Err() != nil {
		return
	}
	wait := u.renewals.next()
	u.renewAt = u.now().Add(wait)
	u.log.Warn("certificate was not renewed", "err", explain(err), "expires", cert.NotAfter, "again_in", wait.Round(time.Second))
}

// reenrol asks for the next certificate and stages it.
func (u *uplink) reenrol(ctx context.Context) (*pki.KeyPair, error) {
	key, err := u.id.pending()
	if err != nil {
		return nil, err
	}
	csr, err := pki.NewRequest(key, string(u.id.device()))
	if err != nil {
		return nil, err
	}
	certs, err := u.hub.reenroll(ctx, csr)
	if r, ok := errors.AsType[*refusal](err); ok && (r.code == lh.Conflict || r.code == lh.Invalid) {
		return nil, errors.Join(err, u.id.forget())
	}
	if err != nil {
		return nil, err
	}
	p, err := accept(certs, key)
	if err != nil {
		return nil, err
	}
	if id, err := pki.DeviceID(p.Cert); err != nil || id != u.id.device() {
		return nil, fmt.Errorf("%w: the renewed certificate is of another device", errLie)
	}
	return p, u.id.stage(p)
}

// tryOut makes the renewed pair the identity once the hub has welcomed it.
func (u *uplink) tryOut(ctx context.Context, p *pki.KeyPair) error {
	h, err := u.as(p)
	if err != nil {
		return err
	}
	defer h.close()
	w, err := h.manifest(ctx, u.manifest)
	if r, ok := errors.AsType[*refusal](err); ok && r.code == lh.Invalid {
		err = nil // it was let in, which is what is asked here
	} else if err == nil && w.Device != u.id.device() {
		err = fmt.Errorf("%w: it calls this device %s", errLie, w.Device)
	}
	if mayNot(err) { // a certificate that the hub does not know; another is asked for
		return errors.Join(err, u.id.dropStaged())
	}
	if err != nil {
		return fmt.Errorf("try renewed certificate: %w", err)
	}
	return u.id.settle(p)
}
