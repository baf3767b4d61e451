package access

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Options are what access works with.
type Options struct {
	DB  *store.DB
	Now func() time.Time // nil is time.Now
	Log *slog.Logger

	// URL is where people reach the hub: https, a host, a port where it is not 443. Passkeys are bound to it, and
	// providers send people back to it. "" does without either.
	URL           string
	Providers     []Provider
	RequireFactor string // who must have a second factor: [RequireNobody], [RequireOperators] or [RequireAll]

	SignUpOpen bool      // whether people make accounts by themselves; else they are invited
	Breached   *Breached // passwords that were leaked; nil knows the commonest alone
	Mailed     func()    // told when something was put into the outbox; nil is told nothing
}

// Access is safe for concurrent use.
type Access struct {
	db      *store.DB
	now     func() time.Time
	log     *slog.Logger
	hashers hashers
	nobody  func() (string, error) // a hash to compare with where there is no user
	tries   tries
	guesses tries // of an account's password, from networks it is not known at
	known   places
	use     use

	url       string
	keys      *webauthn.WebAuthn // nil: passkeys cannot be had here
	providers []*provider
	require   string

	signUpOpen bool
	breached   *Breached
	mailed     func()
	seen       seen
}

// New returns an Access.
func New(o Options) *Access {
	a := &Access{db: o.DB, now: o.Now, log: o.Log, hashers: newHashers(), tries: tries{by: map[string]*try{}},
		guesses: tries{by: map[string]*try{}, idle: accountBurst * accountEvery}, known: places{at: map[place]time.Time{}},
		url: strings.TrimSuffix(o.URL, "/"), keys: newKeys(o.URL), require: o.RequireFactor,
		signUpOpen: o.SignUpOpen, breached: o.Breached, mailed: o.Mailed, seen: seen{at: map[lh.SessionID]time.Time{}}}
	if a.mailed == nil {
		a.mailed = func() {}
	}
	for _, p := range o.Providers {
		a.providers = append(a.providers, newProvider(p))
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	a.nobody = sync.OnceValues(func() (string, error) { return a.hashers.hash(context.Background(), "nobody") })
	return a
}

// CreateUser makes an account. Conflict: the address has one.
func (a *Access) CreateUser(ctx context.Context, u lh.User, password string) (lh.User, error) {
	if !lh.ValidEmail(u.Email) {
		return u, lh.Errorf(lh.Invalid, "%q is no e-mail address", u.Email)
	}
	if n := len(u.Name); n == 0 || n > 200 {
		return u, lh.Errorf(lh.Invalid, "a name has 1 to 200 bytes")
	}
	if err := a.newPassword(password, u.Email, u.Name); err != nil {
		return u, err
	}
	hash, err := a.hashers.hash(ctx, password)
	if err != nil {
		return u, err
	}
	return a.db.CreateUser(ctx, u, hash)
}

// SetPassword replaces a password; every session of the user ends.
func (a *Access) SetPassword(ctx context.Context, email, password string) error {
	u, _, err := a.db.UserByEmail(ctx, email)
	if err != nil {
		return err
	}
	if err := a.newPassword(password, u.Email, u.Name); err != nil {
		return err
	}
	hash, err := a.hashers.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.db.SetPassword(ctx, u.ID, hash)
}

// LogOut ends a session.
func (a *Access) LogOut(ctx context.Context, p Principal) error {
	return a.db.EndSession(ctx, p.Session.ID)
}

// Hub returns the scope of the hub's own background work in a project.
func (a *Access) Hub(project lh.ProjectID) store.Scope {
	return store.NewScope(project, lh.RoleHub, lh.Actor{Kind: lh.ActorHub, ID: "hub"})
}

// DeviceScope returns a device's own scope. Whoever calls it has proven that the device is who it says: by its
// certificate ([Access.Device]) or by its claim code (enrolment).
func (a *Access) DeviceScope(project lh.ProjectID, d lh.DeviceID) store.Scope {
	return store.NewScope(project, lh.RoleDevice, lh.Actor{Kind: lh.ActorDevice, ID: string(d)})
}

// Device returns the device whose certificate has this public key. Unauthenticated: the certificate is none of this
// installation's; Forbidden: it is revoked, or its device is.
func (a *Access) Device(ctx context.Context, keyHash [32]byte) (Device, error) {
	c, err := a.db.Certificate(ctx, keyHash)
	if lh.CodeOf(err) == lh.NotFound {
		return Device{}, lh.Errorf(lh.Unauthenticated, "this certificate belongs to no device of this hub; enrol again")
	}
	if err != nil {
		return Device{}, err
	}
	switch {
	case c.Revoked != 0 || c.State == lh.DeviceRevoked:
		return Device{}, lh.Errorf(lh.Forbidden, "this device's certificate is revoked")
	case c.NotAfter < lh.MillisOf(a.now()):
		return Device{}, lh.Errorf(lh.Unauthenticated, "this certificate has expired; enrol again with a new claim code")
	}
	return Device{ID: c.Device, Project: c.Project, Scope: a.DeviceScope(c.Project, c.Device)}, nil
}
