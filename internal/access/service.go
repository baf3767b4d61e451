package access

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// TokenLife is how long an access token of a service account lasts.
const TokenLife = time.Hour

// MaxOverlap is for how long an old key may go on beside the one that replaces it.
const MaxOverlap = 90 * 24 * time.Hour

func wrongKey() error {
	return lh.Errorf(lh.Unauthenticated, "this key or token is not known here: it is mistyped, was revoked or has ended; an administrator of the project makes a new one")
}

// proof is what a program sent: which kind of secret, and its hash.
type proof struct {
	prefix string
	hash   []byte
}

// program returns whose secret this is, if it may be used now and from there.
func (a *Access) program(ctx context.Context, how proof, remote netip.Addr) (Principal, error) {
	p := Principal{Remote: remote, how: how, at: a.now()}
	now := lh.MillisOf(p.at)
	var key store.KeyProof
	var err error
	switch how.prefix {
	case keyPrefix:
		p.Kind = lh.ActorService
		p.Service, key, err = a.db.ServiceByKey(ctx, how.hash)
	case accessPrefix:
		p.Kind = lh.ActorService
		p.Service, key, err = a.db.ServiceByToken(ctx, how.hash, now)
	case integrationPrefix:
		p.Kind = lh.ActorIntegration
		p.Integration, key, err = a.db.IntegrationByKey(ctx, how.hash)
	default:
		return Principal{}, wrongKey()
	}
	if lh.CodeOf(err) == lh.NotFound || err == nil && key.Expires != 0 && key.Expires <= now {
		return Principal{}, wrongKey()
	}
	if err != nil {
		return Principal{}, err
	}
	p.Key, p.standing = key.Key, key.Standing
	if p.standing.Destroy != 0 {
		return Principal{}, lh.Errorf(lh.Forbidden, "the project is going to be destroyed at %s; programs have no access to it any more", p.standing.Destroy.Time().UTC().Format("2006-01-02 15:04 MST"))
	}
	enabled, expires, networks, what := p.Service.Enabled, p.Service.Expires, p.Service.Networks, "service account"
	if p.Kind == lh.ActorIntegration {
		enabled, expires, networks, what = p.Integration.Enabled, p.Integration.Expires, p.Integration.Networks, "integration"
	}
	switch {
	case !enabled:
		return Principal{}, lh.Errorf(lh.Unauthenticated, "this %s is switched off; an administrator of the project can switch it on", what)
	case expires != 0 && expires <= now:
		return Principal{}, lh.Errorf(lh.Unauthenticated, "this %s has expired; an administrator of the project can extend it", what)
	case !allowed(networks, remote):
		return Principal{}, lh.Errorf(lh.Forbidden, "this %s may not be used from %s; an administrator of the project lists the networks it may be used from", what, remote)
	}
	a.use.touch(p, key.Used, now)
	return p, nil
}

// allowed reports whether an address is in one of the networks; none is everywhere. An address that is not known is in
// no network.
func allowed(networks []netip.Prefix, from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	return len(networks) == 0 || slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

// project returns the project of a program.
func (p Principal) project() lh.ProjectID {
	if p.Kind == lh.ActorIntegration {
		return p.Integration.Project
	}
	return p.Service.Project
}

// fresh is for how long what is known of a program is taken to hold: a request is over by then; what lasts longer asks
// again.
const fresh = time.Second

// programScope returns what a program may do in a project.
func (a *Access) programScope(ctx context.Context, p Principal, project lh.ProjectID) (store.Scope, error) {
	if since := a.now().Sub(p.at); since >= fresh || since < 0 {
		var err error
		if p, err = a.program(ctx, p.how, p.Remote); err != nil {
			return store.Scope{}, err
		}
	}
	switch {
	case p.project() != project:
		return store.Scope{}, lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
	case p.Kind == lh.ActorIntegration:
		return store.Scope{}, lh.Errorf(lh.Forbidden, "an integration's key sends samples and does nothing else; a service account's key reads")
	}
	return store.NewScope(project, p.Service.Role, p.Actor(), p.Service.Locations...).In(p.standing), nil
}

// SendScope returns the scope by which an integration sends: it appends, and sees nothing.
func (a *Access) SendScope(p Principal) store.Scope {
	if p.Kind != lh.ActorIntegration {
		return store.Scope{}
	}
	return store.NewScope(p.Integration.Project, lh.RoleDevice, p.Actor()).In(p.standing)
}

// NewKey makes a key of a service account or an integration; its secret is told once and stored nowhere.
func (a *Access) NewKey(ctx context.Context, sc store.Scope, key lh.ProgramKey) (lh.ProgramKey, string, error) {
	return a.newKey(ctx, sc, key, "", 0)
}

// RotateKey makes a key in the place of another one of the same program, which ends at ends: 0 is at once.
func (a *Access) RotateKey(ctx context.Context, sc store.Scope, key lh.ProgramKey, old lh.KeyID, ends lh.Millis) (lh.ProgramKey, string, error) {
	if most := lh.MillisOf(a.now().Add(MaxOverlap)); ends > most {
		return key, "", lh.Errorf(lh.Invalid, "the old key may go on for at most %d days", MaxOverlap/(24*time.Hour))
	}
	if old == "" {
		return key, "", lh.Errorf(lh.NotFound, "there is no such key")
	}
	return a.newKey(ctx, sc, key, old, ends)
}

func (a *Access) newKey(ctx context.Context, sc store.Scope, key lh.ProgramKey, old lh.KeyID, ends lh.Millis) (lh.ProgramKey, string, error) {
	prefix := keyPrefix
	if lh.IntegrationID(key.Program).Valid() {
		prefix = integrationPrefix
	}
	secret := newSecret(prefix)
	made, err := a.db.CreateKey(ctx, sc, key, tokenHash(secret), old, ends)
	if err != nil {
		return made, "", err
	}
	return made, secret, nil
}

// Exchange is the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4): for a service account's id and one of
// its keys it gives an access token, which is told once and dies with the key. Unauthenticated says the same whether the
// id or the key is wrong; Forbidden: not from there; Exhausted: too many tries.
func (a *Access) Exchange(ctx context.Context, id lh.ServiceID, secret string, remote netip.Addr) (Principal, string, error) {
	remote = remote.Unmap()
	from := Network(remote.String()).String()
	if !a.tries.allow(a.now(), "oauth "+from, 60, time.Second) {
		a.log.WarnContext(ctx, "token requests bounded", "remote", remote)
		return Principal{}, "", lh.Errorf(lh.Exhausted, "too many token requests from here; a token lasts %s, use it until then", TokenLife)
	}
	wrong := lh.Errorf(lh.Unauthenticated, "client id or secret is wrong: the id is the service account's, the secret is one of its keys")
	if !wellFormed(secret, keyPrefix) {
		return Principal{}, "", wrong
	}
	p, err := a.program(ctx, proof{keyPrefix, tokenHash(secret)}, remote)
	if lh.CodeOf(err) == lh.Unauthenticated || err == nil && p.Service.ID != id {
		a.log.WarnContext(ctx, "token request refused", "remote", remote)
		return Principal{}, "", wrong
	}
	if err != nil {
		return Principal{}, "", err
	}
	token := newSecret(accessPrefix)
	err = a.db.CreateToken(ctx, p.Service, p.Key, tokenHash(token), lh.MillisOf(a.now().Add(TokenLife)))
	if lh.CodeOf(err) == lh.NotFound { // revoked meanwhile
		err = wrong
	}
	if err != nil {
		return Principal{}, "", err
	}
	return p, token, nil
}

// kindOf returns which kind of program's secret a token is; "" is none.
func kindOf(token string) string {
	for _, prefix := range []string{keyPrefix, accessPrefix, integrationPrefix} {
		if strings.HasPrefix(token, prefix) {
			return prefix
		}
	}
	return ""
}
