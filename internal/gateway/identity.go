package gateway

import (
	"context"
	"crypto/tls"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

const (
	// identityLife is how long an answer of Identify is believed. Together with what a request takes it stays under the
	// second within which a revoked device is out, whatever else fails.
	identityLife = 700 * time.Millisecond
	// maxIdentities bounds the answers remembered; one that is forgotten is asked for again.
	maxIdentities = 20000
)

// identities remembers who is behind a key, for less than a second, so that a device that sends many small uploads
// costs one look-up a second. Refusals are never remembered: a device that enrols anew is let in at once.
type identities struct {
	mu sync.Mutex
	by map[[32]byte]identity
}

type identity struct {
	device access.Device
	asked  time.Time // monotonic; when the question was put, not when it was answered
}

// identify returns whose key it is.
func (g *Gateway) identify(ctx context.Context, key [32]byte) (access.Device, error) {
	now := time.Now()
	g.ids.mu.Lock()
	id, ok := g.ids.by[key]
	g.ids.mu.Unlock()
	if ok && now.Sub(id.asked) < identityLife {
		return id.device, nil
	}
	return g.identifyAnew(ctx, key)
}

// identifyAnew asks, whatever is remembered.
func (g *Gateway) identifyAnew(ctx context.Context, key [32]byte) (access.Device, error) {
	asked := time.Now()
	d, err := g.cfg.Identify(ctx, key)
	if err == nil && d.ID == "" {
		err = lh.Errorf(lh.Internal, "a certificate was identified as nobody's")
	}
	g.ids.mu.Lock()
	defer g.ids.mu.Unlock()
	if err != nil {
		delete(g.ids.by, key)
		return access.Device{}, err
	}
	if g.ids.by == nil {
		g.ids.by = map[[32]byte]identity{}
	}
	if len(g.ids.by) >= maxIdentities {
		for k, e := range g.ids.by {
			if asked.Sub(e.asked) > identityLife || len(g.ids.by) >= maxIdentities {
				delete(g.ids.by, k)
			}
		}
	}
	g.ids.by[key] = identity{d, asked}
	return d, nil
}

// sweep forgets what is believed no more.
func (i *identities) sweep() {
	now := time.Now()
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, e := range i.by {
		if now.Sub(e.asked) > identityLife {
			delete(i.by, k)
		}
	}
}

// drop forgets one key.
func (i *identities) drop(key [32]byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.by, key)
}

// forget makes every later request of a device ask anew.
func (i *identities) forget(d lh.DeviceID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, e := range i.by {
		if e.device.ID == d {
			delete(i.by, k)
		}
	}
}

// proven returns the key and the end of validity of the certificate a connection's client has proven to hold.
// Unauthenticated: it showed none, or it has expired since the connection was made.
func (g *Gateway) proven(s *tls.ConnectionState) (key [32]byte, notAfter time.Time, err error) {
	if s == nil || !s.HandshakeComplete || len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0 {
		return key, notAfter, lh.Errorf(lh.Unauthenticated, "this needs the device's client certificate; enrol first")
	}
	c := s.PeerCertificates[0]
	if g.now().After(c.NotAfter) {
		return key, notAfter, lh.Errorf(lh.Unauthenticated, "this certificate has expired; enrol again with a new claim code")
	}
	return pki.KeyHash(c), c.NotAfter, nil
}
