package access

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// IdleLife is for how long a session may go unused before it ends.
const IdleLife = 5 * 24 * time.Hour

// seenEvery is how exactly the last use of a session is known; each use in between costs nothing.
const seenEvery = 5 * time.Minute

const maxAgent = 200

// seen remembers of which sessions the last use was written down, and when, so that not every request writes.
type seen struct {
	mu sync.Mutex
	at map[lh.SessionID]time.Time
}

const maxSeen = 20_000

// due reports whether a session's use is to be written down at now, and then takes it as written.
func (s *seen) due(id lh.SessionID, last lh.Millis, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.at[id]
	if !ok && last != 0 {
		at = last.Time()
	}
	if now.Sub(at).Abs() < seenEvery {
		return false
	}
	if len(s.at) >= maxSeen {
		for k, t := range s.at {
			if now.Sub(t).Abs() >= seenEvery || len(s.at) > maxSeen/2 {
				delete(s.at, k)
			}
		}
	}
	s.at[id] = now
	return true
}

// Seen notes that a session is in use, with which program and from where. agent is what the program calls itself.
func (a *Access) Seen(ctx context.Context, p Principal, agent string) {
	if agent = shortAgent(agent); agent == "" {
		agent = "unknown"
	}
	a.noteUse(ctx, p, agent)
}

// noteUse notes that a session is in use; agent "" leaves what is known of where and with what.
func (a *Access) noteUse(ctx context.Context, p Principal, agent string) {
	if p.Kind != lh.ActorUser || !a.seen.due(p.Session.ID, p.Session.Used, a.now()) {
		return
	}
	s := p.Session
	s.Used, s.Remote, s.Agent = lh.MillisOf(a.now()), p.Remote, agent
	if err := a.db.UseSession(ctx, s); err != nil && ctx.Err() == nil {
		a.log.WarnContext(ctx, "the use of a session was not noted", "session", s.ID, "err", err)
	}
}

// shortAgent is a User-Agent without what could not be shown on one line.
func shortAgent(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	for len(s) > maxAgent {
		r := []rune(s)
		s = string(r[:min(len(r)-1, maxAgent)])
	}
	return s
}

// idle reports whether a session has gone unused for too long.
func (a *Access) idle(s lh.Session) bool {
	last := max(s.Used, s.Created)
	return a.now().Sub(last.Time()) > IdleLife
}
