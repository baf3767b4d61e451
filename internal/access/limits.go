package access

import (
	"context"
	"math"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Limits bound how much somebody may ask of the hub. What is 0 is not bounded.
type Limits struct {
	Rate  float64 // points a second that a principal gets
	Burst int     // points a principal may have saved up
	// Of strangers of one [Network] together: of those who ask without being known, or in vain.
	StrangerRate  float64
	StrangerBurst int
	AtOnce        int // requests of a principal that are answered at once; more of them wait
}

// maxBuckets bounds how many principals, and how many networks of strangers, are remembered. Those beyond share one
// bucket, so that a flood of addresses gets no more than an address.
const maxBuckets = 20_000

// Who waits for an earlier request of theirs, waits for at most waitAtOnce, with at most waitEach times as many others
// as are answered at once.
const (
	waitAtOnce = 10 * time.Second
	waitEach   = 4
)

// Limiter counts what everybody asks. It is safe for concurrent use.
type Limiter struct {
	limits Limits
	now    func() time.Time

	mu         sync.Mutex
	principals crowd
	strangers  crowd
}

// crowd is many buckets, by whose they are.
type crowd struct {
	by    map[string]*bucket
	swept time.Time
}

// bucket holds the points of one principal or network; Limiter.mu guards it.
type bucket struct {
	points  float64
	at      time.Time
	slots   chan struct{} // of requests under way
	waiting int
}

// NewLimiter returns a Limiter; now nil is time.Now.
func NewLimiter(l Limits, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now
	}
	return &Limiter{limits: l, now: now, principals: crowd{by: map[string]*bucket{}}, strangers: crowd{by: map[string]*bucket{}}}
}

// Verdict is what a Limiter says to one request.
type Verdict struct {
	Limited   bool          // there is a limit at all
	OK        bool          // the request may pass
	Burst     int           // points that can be saved up
	Window    time.Duration // in which as many come back
	Remaining int           // points left
	Full      time.Duration // until all points are back
	Retry     time.Duration // until this request could pass
}

// Principal takes points of a principal.
func (l *Limiter) Principal(id string, cost int) Verdict {
	return l.take(&l.principals, id, l.limits.Rate, l.limits.Burst, cost)
}

// Stranger takes points of a network.
func (l *Limiter) Stranger(network string, cost int) Verdict {
	return l.take(&l.strangers, network, l.limits.StrangerRate, l.limits.StrangerBurst, cost)
}

func (l *Limiter) take(in *crowd, key string, rate float64, burst, cost int) Verdict {
	if rate <= 0 || burst <= 0 {
		return Verdict{OK: true}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.bucket(in, key, rate, burst, now)
	b.refill(rate, burst, now)
	need := float64(min(cost, burst)) // what costs more than can be saved up passes when all is
	v := Verdict{Limited: true, Burst: burst, Window: seconds(float64(burst) / rate)}
	if v.OK = b.points >= need; v.OK {
		b.points -= need
	} else {
		v.Retry = seconds((need - b.points) / rate)
	}
	v.Remaining, v.Full = int(b.points), seconds((float64(burst)-b.points)/rate)
	return v
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (b *bucket) refill(rate float64, burst int, now time.Time) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.points = math.Min(float64(burst), b.points+d*rate)
	}
	b.at = now
}

// bucket returns the bucket of a key. Where there are too many, those that are full again are forgotten, which loses
// nothing; if that is not enough, newcomers share the bucket of "".
func (l *Limiter) bucket(in *crowd, key string, rate float64, burst int, now time.Time) *bucket {
	if b := in.by[key]; b != nil {
		return b
	}
	if len(in.by) >= maxBuckets {
		if since := now.Sub(in.swept); since >= time.Second || since < 0 { // it costs as much as there are
			in.swept = now
			in.sweep(rate, burst, now)
		}
		if len(in.by) >= maxBuckets {
			key = ""
			if b := in.by[key]; b != nil {
				return b
			}
		}
	}
	b := &bucket{points: float64(burst), at: now}
	if l.limits.AtOnce > 0 {
		b.slots = make(chan struct{}, l.limits.AtOnce)
	}
	in.by[key] = b
	return b
}

// sweep forgets who has all their points back and asks nothing.
func (c *crowd) sweep(rate float64, burst int, now time.Time) {
	for k, b := range c.by {
		full := rate <= 0 || b.points+now.Sub(b.at).Seconds()*rate >= float64(burst)
		if full && len(b.slots) == 0 && b.waiting == 0 {
			delete(c.by, k)
		}
	}
}

// Enter waits until a request of a principal may be answered beside its others, and takes a place, which leave gives
// back. Exhausted: too many of them wait already, or this one has waited for too long.
func (l *Limiter) Enter(ctx context.Context, id string) (leave func(), err error) {
	if l.limits.AtOnce <= 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	b := l.bucket(&l.principals, id, l.limits.Rate, l.limits.Burst, l.now())
	leave = func() { <-b.slots }
	select {
	case b.slots <- struct{}{}:
		l.mu.Unlock()
		return leave, nil
	default:
	}
	if waiting := b.waiting; waiting >= waitEach*l.limits.AtOnce {
		l.mu.Unlock()
		return nil, lh.Errorf(lh.Exhausted, "%d of your requests are under way and %d wait; send fewer at once", l.limits.AtOnce, waiting)
	}
	b.waiting++
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		b.waiting--
		l.mu.Unlock()
	}()
	t := time.NewTimer(waitAtOnce)
	defer t.Stop()
	select {
	case b.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, lh.Errorf(lh.Exhausted, "%d of your requests are under way for too long; send fewer at once", l.limits.AtOnce)
	}
}

// Buckets returns how many principals and networks of strangers are remembered.
func (l *Limiter) Buckets() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.principals.by) + len(l.strangers.by)
}
