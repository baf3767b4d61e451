package access

import (
	"cmp"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// tries bounds how often something may be tried, per key, in memory. At most maxTries keys are remembered; when there
// are more, those unused longest are forgotten first, so that a flood of keys costs bounded memory.
type tries struct {
	mu   sync.Mutex
	by   map[string]*try
	idle time.Duration // after which a key that is not tried may be forgotten; 0 is ten minutes
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

// tokens returns how many more tries a key has at once, without using one.
func (t *tries) tokens(now time.Time, key string, burst int) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.by[key]; e != nil {
		return e.limit.TokensAt(now)
	}
	return float64(burst)
}

func (t *tries) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, key)
}

// clear forgets what was not used for a while, and half of the rest where that is not enough.
func (t *tries) clear(now time.Time) {
	idle := cmp.Or(t.idle, 10*time.Minute)
	for k, e := range t.by {
		if now.Sub(e.used) > idle {
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
