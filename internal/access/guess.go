package access

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Guessing passwords is slowed three ways, each with answers that say nothing of whether the account exists:
//
//   - what comes from one network, whatever the account;
//   - what comes from one network for one account;
//   - what comes for one account from all networks together that it has not logged in from lately.
//
// The last is what many networks together meet. It does not hold up those whom the account belongs to: where they have
// logged in from, or have chosen a new password by a link, they are known, and only the first two count.
const (
	accountBurst = 40
	accountEvery = 2 * time.Minute
)

// mayGuess counts a try of an account's password. Exhausted: there were too many.
func (a *Access) mayGuess(ctx context.Context, email, remote string) error {
	email = strings.ToLower(email)
	network := Network(remote)
	from := networkName(remote)
	now := a.now()
	if !a.tries.allow(now, "ip "+from, 30, 2*time.Second) || !a.tries.allow(now, "user "+from+" "+email, 8, 15*time.Second) {
		a.log.WarnContext(ctx, "log-in tries bounded", "remote", remote)
		return lh.Errorf(lh.Exhausted, "too many log-in tries from here; wait a minute")
	}
	known, err := a.knows(ctx, email, network)
	if err != nil || known {
		return err
	}
	if !a.guesses.allow(now, email, accountBurst, accountEvery) {
		a.log.WarnContext(ctx, "log-in tries of an account bounded", "remote", remote)
		return lh.Errorf(lh.Exhausted, "too many log-in tries for this account; wait some minutes, log in from where you did before, or choose a new password by mail")
	}
	return nil
}

// networkName is a network as tries are counted by it.
func networkName(remote string) string {
	if n := Network(remote); n.IsValid() {
		return n.String()
	}
	return remote // no address of a network
}

// recognise forgets the wrong tries of whoever has given the right password, and remembers where they are.
func (a *Access) recognise(email, remote string) {
	email = strings.ToLower(email)
	a.tries.forget("user " + networkName(remote) + " " + email)
	a.known.add(a.now(), email, Network(remote))
}

// knows reports whether an account has logged in from a network lately: as far as this process has seen, or from where its
// sessions are used.
func (a *Access) knows(ctx context.Context, email string, network netip.Prefix) (bool, error) {
	if !network.IsValid() {
		return false, nil
	}
	if a.known.has(a.now(), email, network) {
		return true, nil
	}
	if a.guesses.tokens(a.now(), email, accountBurst) >= accountBurst/2 {
		return false, nil // it makes no difference yet
	}
	u, _, err := a.db.UserByEmail(ctx, email)
	if lh.CodeOf(err) == lh.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ss, err := a.db.Sessions(ctx, u.ID)
	for _, s := range ss {
		if s.Remote.IsValid() && Network(s.Remote.String()) == network {
			a.known.add(a.now(), email, network)
			return true, nil
		}
	}
	return false, err
}

// places remembers from which networks accounts have logged in, in bounded memory.
type places struct {
	mu sync.Mutex
	at map[place]time.Time
}

type place struct {
	email   string
	network netip.Prefix
}

const (
	placeLife = 30 * 24 * time.Hour
	maxPlaces = 20_000
)

func (p *places) add(now time.Time, email string, network netip.Prefix) {
	if !network.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.at) >= maxPlaces {
		for k, at := range p.at {
			if now.Sub(at) > placeLife || len(p.at) > maxPlaces/2 {
				delete(p.at, k)
			}
		}
	}
	p.at[place{email, network}] = now
}

func (p *places) has(now time.Time, email string, network netip.Prefix) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.at[place{email, network}]
	return ok && now.Sub(at) <= placeLife
}
