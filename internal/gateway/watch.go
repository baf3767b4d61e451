package gateway

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	// watchEvery is how often live connections are checked. With the time one look takes it stays under a second.
	watchEvery = 400 * time.Millisecond
	// watchTimeout bounds one look at the database.
	watchTimeout = 5 * time.Second
	// clockSkew is by how much the clocks of replicas may differ: the deny list is read from that long before its
	// newest look. A wholeEvery it is read whole, so that even a clock further off hides a revocation for no longer.
	clockSkew  = 5 * time.Minute
	wholeEvery = time.Minute
	// askAnew is how often a live device is identified anew, for what no deny list says: a project that was deleted, a
	// device that moved. askMost bounds how many that are in one look; with more connections it takes longer.
	askAnew = 10 * time.Second
	askMost = 200
)

// watch ends live connections whose device may not be here any more, until the gateway stops. It is what cuts a device
// that another replica has revoked. While the database cannot be read it cuts nothing, since then nothing can be taken
// in or given out either: every request asks who it is within a second, and is refused.
func (g *Gateway) watch() {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	var whole time.Time
	failed := false
	for {
		select {
		case <-g.newcomers.Done():
			return
		case <-t.C:
		}
		g.ids.sweep()
		g.cutExpired()
		err := g.cutDenied(&whole)
		if err == nil {
			err = g.askAgain()
		}
		if err != nil && !failed {
			g.log.Error("live devices could not be checked against the deny list", "err", err)
		}
		failed = err != nil
	}
}

// cutExpired ends connections whose certificate has run out since they were made.
func (g *Gateway) cutExpired() {
	now := g.now()
	var out []*live
	g.live.mu.Lock()
	for l := range g.live.all {
		if now.After(l.notAfter) {
			out = append(out, l)
		}
	}
	g.live.mu.Unlock()
	for _, l := range out {
		g.cut(l.device.ID, endExpired, func(o *live) bool { return o == l })
	}
}

// cutDenied ends connections made with a certificate that is revoked.
func (g *Gateway) cutDenied(whole *time.Time) error {
	if g.cfg.Denied == nil {
		return nil
	}
	start := time.Now()
	since := lh.MillisOf(g.now().Add(-clockSkew))
	if start.Sub(*whole) > wholeEvery {
		since = 0
	}
	ctx, cancel := context.WithTimeout(g.ctx, watchTimeout)
	defer cancel()
	denied, err := g.cfg.Denied(ctx, since)
	if err != nil {
		return err
	}
	if since == 0 {
		*whole = start
	}
	for _, d := range denied {
		g.ids.drop(d.KeyHash)
		g.cut(d.Device, endRevoked, func(l *live) bool { return l.key == d.KeyHash })
	}
	return nil
}

// askAgain identifies those live devices anew that were not for long, and ends the connections of those that are gone
// or somewhere else. Without a deny list it asks for all of them every time.
func (g *Gateway) askAgain() error {
	age, most := askAnew, askMost
	if g.cfg.Denied == nil {
		age, most = 0, int(^uint(0)>>1)
	}
	now := time.Now()
	var due []*live
	g.live.mu.Lock()
	for l := range g.live.all {
		if len(due) >= most {
			break
		}
		if now.Sub(l.checked) >= age {
			l.checked = now
			due = append(due, l)
		}
	}
	g.live.mu.Unlock()
	for _, l := range due {
		ctx, cancel := context.WithTimeout(g.ctx, watchTimeout)
		d, err := g.identifyAnew(ctx, l.key)
		cancel()
		if err == nil && d.ID == l.device.ID && d.Project == l.device.Project {
			continue
		}
		if err != nil && !gone(err) {
			return err
		}
		g.cut(l.device.ID, endRevoked, func(o *live) bool { return o == l })
	}
	return nil
}
