package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/durable"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Names of what the installation keeps in the database, sealed.
const (
	settingTrustDomain = "pki.trust_domain"
	settingRoot        = "pki.root.cert"
	settingDevicesCert = "pki.devices.cert"
	settingDevicesKey  = "pki.devices.key"
	settingHubCert     = "pki.hub.cert"
	settingHubKey      = "pki.hub.key"
)

// Files in the data folder.
const (
	// RootFile is the root certificate that devices pin. It is public.
	RootFile = "root.pem"
	// RootKeyFile is the root's private key. The hub never reads it: take it offline.
	RootKeyFile = "root-offline.key"
	// ConfigFile is the configuration that Init writes.
	ConfigFile = "loggerhead.yaml"
)

// Init makes an installation in c.Data: folder, configuration, master key, certificate authorities and database. What
// is there already stays as it is, so an Init that was cut off is completed by another. It returns the files to keep
// offline.
func Init(ctx context.Context, c Config, now time.Time) (keepOffline []string, err error) {
	abs, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	file := c
	file.Data = "."
	c.Data = abs
	c.resolve(abs)
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	master, err := seal.LoadMaster(c.MasterKey)
	if errors.Is(err, fs.ErrNotExist) {
		made := []string{filepath.Join(c.Data, RootFile)} // with the master key that is missing
		if file, ok := strings.CutPrefix(c.Database, "sqlite:"); ok {
			made = append(made, file)
		}
		for _, p := range made {
			if exists(p) {
				return nil, fmt.Errorf("%s is there, but its master key %s is not: put back the copy you kept; a new key cannot open the data", p, c.MasterKey)
			}
		}
		master, err = seal.CreateMaster(c.MasterKey)
	}
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Options{URL: c.Database, Master: master})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := initAuthorities(ctx, db, c, now); err != nil {
		return nil, err
	}
	path := filepath.Join(c.Data, ConfigFile)
	if !exists(path) {
		text, err := file.Example()
		if err != nil {
			return nil, err
		}
		if err := durable.Create(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	keepOffline = []string{c.MasterKey}
	if p := filepath.Join(c.Data, RootKeyFile); exists(p) {
		keepOffline = append(keepOffline, p)
	}
	return keepOffline, nil
}

// initAuthorities makes the CA hierarchy where there is none. The root key goes to its file before anything that is
// signed with it is stored, so that no installation has a root whose key is lost.
func initAuthorities(ctx context.Context, db *store.DB, c Config, now time.Time) error {
	root, err := db.Setting(ctx, settingRoot)
	if err != nil {
		return err
	}
	if root == nil {
		// The root's certificate is written last. Where it is, the folder is a whole installation's, and the root's key in
		// it may be the only copy.
		if p := filepath.Join(c.Data, RootFile); exists(p) {
			return fmt.Errorf("%s is an installation already, and this database is not its own: set database to the one it was made with", c.Data)
		}
		h, err := pki.NewHierarchy(c.TrustDomain, now)
		if err != nil {
			return err
		}
		cert, key, err := h.Root.MarshalPEM()
		if err != nil {
			return err
		}
		keyFile := filepath.Join(c.Data, RootKeyFile)
		if exists(keyFile) { // of an Init that was cut off before it stored anything
			if err := os.Remove(keyFile); err != nil {
				return err
			}
		}
		if err := durable.Create(keyFile, key, 0o600); err != nil {
			return err
		}
		devCert, devKey, err := h.Devices.MarshalPEM()
		if err != nil {
			return err
		}
		hubCert, hubKey, err := h.Hub.MarshalPEM()
		if err != nil {
			return err
		}
		root = cert
		err = db.SetSettings(ctx, map[string][]byte{settingTrustDomain: []byte(c.TrustDomain), settingRoot: cert,
			settingDevicesCert: devCert, settingDevicesKey: devKey, settingHubCert: hubCert, settingHubKey: hubKey})
		if err != nil {
			return err
		}
	}
	if p := filepath.Join(c.Data, RootFile); !exists(p) {
		return durable.Create(p, root, 0o644)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// authorities are the installation's CAs as the hub uses them: the root's certificate alone, the issuing ones whole.
type authorities struct {
	trustDomain  string
	root         []byte // PEM
	devices, hub *pki.KeyPair
}

func loadAuthorities(ctx context.Context, db *store.DB) (*authorities, error) {
	a := &authorities{}
	get := func(name string) ([]byte, error) {
		v, err := db.Setting(ctx, name)
		if err == nil && v == nil {
			err = errors.New("this database is not set up yet; run `loggerhead init`")
		}
		return v, err
	}
	pair := func(cert, key string) (*pki.KeyPair, error) {
		c, err := get(cert)
		if err != nil {
			return nil, err
		}
		k, err := get(key)
		if err != nil {
			return nil, err
		}
		return pki.ParseKeyPair(c, k)
	}
	domain, err := get(settingTrustDomain)
	if err != nil {
		return nil, err
	}
	a.trustDomain = string(domain)
	if a.root, err = get(settingRoot); err != nil {
		return nil, err
	}
	if a.devices, err = pair(settingDevicesCert, settingDevicesKey); err != nil {
		return nil, err
	}
	a.hub, err = pair(settingHubCert, settingHubKey)
	return a, err
}
