package agent

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

const maxIdentity = 64 << 10

// identity is who this device is: its certificate and key. The uplink writes it; anybody may read it.
type identity struct {
	dir  string
	live pki.Live
	cert atomic.Pointer[x509.Certificate] // of live; nil when there is none
}

// openIdentity reads the certificate in use. A file that cannot be read is put aside and the device is as one that is
// not enrolled: sampling matters more than saying who one is.
func openIdentity(dir string, log *slog.Logger) (*identity, error) {
	i := &identity{dir: dir}
	path := i.path(identityFile)
	pair, err := readPair(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		log.Error("the device's identity cannot be read; it must enrol again", "kept_as", path+".damaged", "err", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("put damaged identity aside: %w", err)
		}
	default:
		i.use(pair)
	}
	return i, nil
}

func (i *identity) path(name string) string { return filepath.Join(i.dir, name) }

func (i *identity) use(p *pki.KeyPair) {
	i.live.Set(p.TLS())
	i.cert.Store(p.Cert)
}

// device is the id in the certificate; "" when there is none.
func (i *identity) device() lh.DeviceID {
	c := i.cert.Load()
	if c == nil {
		return ""
	}
	id, err := pki.DeviceID(c)
	if err != nil { // accept has looked
		return ""
	}
	return id
}

// pending is the key that a certificate is, or will be, asked for. It is durable before anybody hears of it, and the
// same until it has a certificate: an answer that got lost can be asked for again, where the hub has bound the one-time
// code to this key.
func (i *identity) pending() (*ecdsa.PrivateKey, error) {
	b, err := readBounded(i.path(pendingFile), maxIdentity)
	if err == nil {
		if key, err := pki.ParseKeyPEM(b); err == nil {
			return key, nil
		} // a damaged key is good for nothing
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	if b, err = pki.MarshalKeyPEM(key); err != nil {
		return nil, err
	}
	return key, durable.Write(i.path(pendingFile), b, 0o600)
}

// forget drops the pending key, for one that the hub will never sign.
func (i *identity) forget() error { return durable.Remove(i.path(pendingFile)) }

// accept finds the certificate for the key among those the hub answered with.
func accept(certs []*x509.Certificate, key *ecdsa.PrivateKey) (*pki.KeyPair, error) {
	for _, c := range certs {
		if !key.PublicKey.Equal(c.PublicKey) {
			continue
		}
		if _, err := pki.DeviceID(c); err != nil {
			return nil, fmt.Errorf("%w: %w", errLie, err)
		}
		return &pki.KeyPair{Cert: c, Key: key}, nil
	}
	return nil, fmt.Errorf("%w: none of its certificates is for this device's key", errLie)
}

// settle makes the pair the identity, durably, before it is used.
func (i *identity) settle(p *pki.KeyPair) error {
	if err := writePair(i.path(identityFile), p); err != nil {
		return err
	}
	i.use(p)
	return errors.Join(i.forget(), durable.Remove(i.path(nextFile)))
}

// stage keeps a renewed pair beside the one in use.
func (i *identity) stage(p *pki.KeyPair) error {
	if err := writePair(i.path(nextFile), p); err != nil {
		return err
	}
	return i.forget()
}

// staged returns the renewed pair that has not worked yet; nil when there is none.
func (i *identity) staged() (*pki.KeyPair, error) {
	p, err := readPair(i.path(nextFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return p, err
}

func (i *identity) dropStaged() error { return durable.Remove(i.path(nextFile)) }

// claimed reports whether this claim code was used up by this device.
func (i *identity) claimed(code string) bool {
	b, err := readBounded(i.path(claimedFile), 100)
	return err == nil && strings.TrimSpace(string(b)) == claimHash(code)
}

func (i *identity) setClaimed(code string) error {
	return durable.Write(i.path(claimedFile), []byte(claimHash(code)+"\n"), 0o600)
}

func claimHash(code string) string {
	h := sha256.Sum256([]byte(code))
	return hex.EncodeToString(h[:])
}

// readClaimCode reads the one line of the claim code file; "" when there is no file.
func readClaimCode(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := readBounded(path, 1024)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read claim code: %w", err)
	}
	code := strings.TrimSpace(string(b))
	if len(code) > 64 || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", lh.Errorf(lh.Invalid, "%s holds no claim code: one line of at most 64 characters is expected", path)
	}
	return code, nil
}

// readPair reads a certificate and its key from one file.
func readPair(path string) (*pki.KeyPair, error) {
	b, err := readBounded(path, maxIdentity)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	p, err := pki.ParseKeyPair(pem.EncodeToMemory(block), rest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := pki.DeviceID(p.Cert); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func writePair(path string, p *pki.KeyPair) error {
	cert, key, err := p.MarshalPEM()
	if err != nil {
		return err
	}
	return durable.Write(path, append(cert, key...), 0o600)
}

// certificate shows a pair that is not in use, or nothing at all.
func certificate(p *pki.KeyPair) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c := &tls.Certificate{}
	if p != nil {
		c = p.TLS()
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
}
