package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// How long a log-in lasts: of a person, and of a program that logs in as one.
const (
	SessionLife = 14 * 24 * time.Hour
	ProgramLife = time.Hour
)

// tokenPrefix marks a session token, so that a secret scanner finds one that leaked.
const tokenPrefix = "lhs_"

// Options are what access works with.
type Options struct {
	DB  *store.DB
	Now func() time.Time // nil is time.Now
	Log *slog.Logger
}

// Access is safe for concurrent use.
type Access struct {
	db      *store.DB
	now     func() time.Time
	log     *slog.Logger
	hashers hashers
	nobody  func() (string, error) // a hash to compare with where there is no user
	tries   tries
}

// New returns an Access.
func New(o Options) *Access {
	a := &Access{db: o.DB, now: o.Now, log: o.Log, hashers: newHashers(), tries: tries{by: map[string]*try{}}}
	if a.now == nil {
		a.now = time.Now
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	a.nobody = sync.OnceValues(func() (string, error) { return a.hashers.hash(context.Background(), "nobody") })
	return a
}

// Principal is a person who has proven who they are.
type Principal struct {
	User    lh.User
	Session lh.Session
}

// CreateUser makes an account. Conflict: the address has one.
func (a *Access) CreateUser(ctx context.Context, u lh.User, password string) (lh.User, error) {
	if !lh.ValidEmail(u.Email) {
		return u, lh.Errorf(lh.Invalid, "%q is no e-mail address", u.Email)
	}
	if n := len(u.Name); n == 0 || n > 200 {
		return u, lh.Errorf(lh.Invalid, "a name has 1 to 200 bytes")
	}
	if err := checkPassword(password, u.Email); err != nil {
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
	if err := checkPassword(password, u.Email); err != nil {
		return err
	}
	hash, err := a.hashers.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.db.SetPassword(ctx, u.ID, hash)
}

// LogIn checks e-mail and password and starts a session; the token is told once and stored nowhere. remote is the
// caller's address, by whose [Network] tries are bounded. Unauthenticated says the same, after the same time, whether the
// address or the password is wrong; Exhausted says that there were too many tries.
func (a *Access) LogIn(ctx context.Context, email, password, remote string) (Principal, string, error) {
	u, err := a.proven(ctx, email, password, remote)
	if err != nil {
		return Principal{}, "", err
	}
	return a.begin(ctx, u, SessionLife)
}

// LogInProgram is [Access.LogIn] for a program that has a person's e-mail and password and can answer nothing else. Its
// session lasts an hour.
func (a *Access) LogInProgram(ctx context.Context, email, password, remote string) (Principal, string, error) {
	u, err := a.proven(ctx, email, password, remote)
	if err != nil {
		return Principal{}, "", err
	}
	return a.begin(ctx, u, ProgramLife)
}

// proven checks e-mail and password, with its tries bounded.
func (a *Access) proven(ctx context.Context, email, password, remote string) (lh.User, error) {
	if len(email) > 254 || len(password) > MaxPassword {
		return lh.User{}, wrongLogIn()
	}
	email = strings.ToLower(email)
	from := remote // where it is no address of a network
	if n := Network(remote); n.IsValid() {
		from = n.String()
	}
	if !a.tries.allow(a.now(), "ip "+from, 30, 2*time.Second) || !a.tries.allow(a.now(), "user "+from+" "+email, 8, 15*time.Second) {
		a.log.WarnContext(ctx, "log-in tries bounded", "remote", remote)
		return lh.User{}, lh.Errorf(lh.Exhausted, "too many log-in tries from here; wait a minute")
	}
	u, hash, err := a.db.UserByEmail(ctx, email)
	known := err == nil
	if lh.CodeOf(err) == lh.NotFound {
		hash, err = a.nobody()
	}
	if err != nil {
		return lh.User{}, err
	}
	ok, err := a.hashers.matches(ctx, password, hash)
	if err != nil {
		return lh.User{}, err
	}
	if !ok || !known {
		a.log.WarnContext(ctx, "log-in refused", "remote", remote)
		return lh.User{}, wrongLogIn()
	}
	a.tries.forget("user " + from + " " + email)
	return u, nil
}

// begin starts a session of somebody proven; the token is told once and stored nowhere.
func (a *Access) begin(ctx context.Context, u lh.User, life time.Duration) (Principal, string, error) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	token := tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	now := a.now()
	s := lh.Session{ID: lh.NewSessionID(), User: u.ID, Created: lh.MillisOf(now), Expires: lh.MillisOf(now.Add(life))}
	if err := a.db.CreateSession(ctx, s, tokenHash(token)); err != nil {
		return Principal{}, "", err
	}
	return Principal{User: u, Session: s}, token, nil
}

func wrongLogIn() error {
	return lh.Errorf(lh.Unauthenticated, "e-mail address or password is wrong")
}

func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// Authenticate returns whose token this is. Unauthenticated: nobody's, or expired.
func (a *Access) Authenticate(ctx context.Context, token string) (Principal, error) {
	gone := lh.Errorf(lh.Unauthenticated, "log in first, or again")
	if !strings.HasPrefix(token, tokenPrefix) || len(token) > 100 {
		return Principal{}, gone
	}
	s, err := a.db.Session(ctx, tokenHash(token))
	if lh.CodeOf(err) == lh.NotFound || err == nil && s.Expires <= lh.MillisOf(a.now()) {
		return Principal{}, gone
	}
	if err != nil {
		return Principal{}, err
	}
	u, err := a.db.User(ctx, s.User)
	if lh.CodeOf(err) == lh.NotFound {
		return Principal{}, gone
	}
	return Principal{User: u, Session: s}, err
}

// StillIn reports whether a principal's session still stands. Unauthenticated: it was ended.
func (a *Access) StillIn(ctx context.Context, p Principal) error {
	return a.db.SessionStands(ctx, p.Session.ID)
}

// LogOut ends a session.
func (a *Access) LogOut(ctx context.Context, p Principal) error {
	return a.db.EndSession(ctx, p.Session.ID)
}

// Grant is what a principal is in a project.
type Grant struct {
	Member lh.Member
	Scope  store.Scope
}

// Grants returns every grant of a principal.
func (a *Access) Grants(ctx context.Context, p Principal) ([]Grant, error) {
	ms, err := a.db.Memberships(ctx, p.User.ID)
	gs := make([]Grant, len(ms))
	for i, m := range ms {
		gs[i] = Grant{Member: m, Scope: scopeOf(m)}
	}
	return gs, err
}

// Scope returns what a principal may do in a project. NotFound: nothing, or there is no such project.
func (a *Access) Scope(ctx context.Context, p Principal, project lh.ProjectID) (store.Scope, error) {
	m, err := a.db.Membership(ctx, p.User.ID, project)
	if err != nil {
		return store.Scope{}, err
	}
	return scopeOf(m), nil
}

func scopeOf(m lh.Member) store.Scope {
	return store.NewScope(m.Project, m.Role, lh.Actor{Kind: lh.ActorUser, ID: string(m.User)}, m.Locations...)
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

// tries bounds how often something may be tried, per key, in memory. At most maxTries keys are remembered; when there
// are more, those unused longest are forgotten first, so that a flood of keys costs bounded memory.
type tries struct {
	mu sync.Mutex
	by map[string]*try
}

type try struct {
	limit *rate.Limiter
	used  time.Time
}

const maxTries = 10000

func (t *tries) allow(now time.Time, key string, burst int, every time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.by[key]
	if e == nil {
		if len(t.by) >= maxTries {
			t.clear(now)
		}
		e = &try{limit: rate.NewLimiter(rate.Every(every), burst)}
		t.by[key] = e
	}
	e.used = now
	return e.limit.AllowN(now, 1)
}

func (t *tries) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, key)
}

// clear forgets what was not used for ten minutes, and half of the rest where that is not enough.
func (t *tries) clear(now time.Time) {
	for k, e := range t.by {
		if now.Sub(e.used) > 10*time.Minute {
			delete(t.by, k)
		}
	}
	for k := range t.by {
		if len(t.by) <= maxTries/2 {
			return
		}
		delete(t.by, k)
	}
}
