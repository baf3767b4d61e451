package agent

import (
	"math/rand/v2"
	"time"
)

// backoff says how long to wait after one failure more: exponential, with full jitter, so that a fleet that lost its
// hub in one moment does not come back in one moment.
type backoff struct {
	base, max time.Duration
	failures  int
}

// minWait keeps a lucky draw from becoming a busy loop.
const minWait = 100 * time.Millisecond

// next counts a failure and returns a wait of minWait to min(max, base·2^failures).
func (b *backoff) next() time.Duration {
	top := b.base
	for i := 0; i < b.failures && top < b.max; i++ {
		top *= 2
	}
	top = min(top, b.max)
	b.failures++
	return max(minWait, rand.N(top+1))
}

func (b *backoff) reset() { b.failures = 0 }
