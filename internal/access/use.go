package access

import (
	"context"
	"net/netip"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// useEvery is how often it goes to the database what programs did: a hub that is killed loses the counts of as long.
const useEvery = time.Minute

// maxUse bounds what is remembered in between; a hub with more programs than that records more often.
const maxUse = 50_000

// use is what programs did since it was last recorded. Its zero value is ready.
type use struct {
	mu    sync.Mutex
	usage map[usageKey]*lh.Usage
	keys  map[lh.KeyID]store.KeyUse
}

type usageKey struct {
	project lh.ProjectID
	program string
	day     int32
	class   string
}

// touch notes that a key was used, at most once a minute.
func (u *use) touch(p Principal, recorded, now lh.Millis) {
	u.mu.Lock()
	defer u.mu.Unlock()
	every := lh.Millis(useEvery.Milliseconds())
	if now-recorded < every || len(u.keys) >= maxUse {
		return
	}
	if u.keys == nil {
		u.keys = map[lh.KeyID]store.KeyUse{}
	}
	u.keys[p.Key] = store.KeyUse{Project: p.project(), Program: p.Actor().ID, Key: p.Key, At: now, From: network(p.Remote)}
}

// network is the network of an address, as far as it is of interest afterwards.
func network(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return Network(a.String())
}

// Count adds to what a program did today. What people do is not counted.
func (a *Access) Count(p Principal, class string, requests, samples int64) {
	if p.Kind != lh.ActorService && p.Kind != lh.ActorIntegration {
		return
	}
	k := usageKey{p.project(), p.Actor().ID, lh.MillisOf(a.now()).Day(), class}
	u := &a.use
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.usage[k]
	if c == nil {
		if len(u.usage) >= maxUse {
			return
		}
		if u.usage == nil {
			u.usage = map[usageKey]*lh.Usage{}
		}
		c = &lh.Usage{Day: k.day, Class: k.class}
		u.usage[k] = c
	}
	c.Requests += requests
	c.Samples += samples
}

// RecordUse writes to the database what programs did since it last did so.
func (a *Access) RecordUse(ctx context.Context) error {
	u := &a.use
	u.mu.Lock()
	usage, keys := u.usage, u.keys
	u.usage, u.keys = nil, nil
	u.mu.Unlock()
	if len(usage) == 0 && len(keys) == 0 {
		return nil
	}
	var us []store.ProgramUsage
	for k, c := range usage {
		us = append(us, store.ProgramUsage{Project: k.project, Program: k.program, Usage: *c})
	}
	var ks []store.KeyUse
	for _, k := range keys {
		ks = append(ks, k)
	}
	err := a.db.RecordUse(ctx, us, ks)
	if err == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	// It is told with the next; what has come since is added up.
	if u.usage == nil {
		u.usage = map[usageKey]*lh.Usage{}
	}
	for k, c := range usage {
		if now := u.usage[k]; now != nil {
			c.Requests, c.Samples = c.Requests+now.Requests, c.Samples+now.Samples
		}
		u.usage[k] = c
	}
	if u.keys == nil {
		u.keys = map[lh.KeyID]store.KeyUse{}
	}
	for id, k := range keys {
		if _, newer := u.keys[id]; !newer {
			u.keys[id] = k
		}
	}
	return err
}

// KeepUse records what programs did, each minute until ctx ends, and once more then.
func (a *Access) KeepUse(ctx context.Context) {
	t := time.NewTicker(useEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-t.C:
			if err := a.RecordUse(ctx); err != nil && ctx.Err() == nil {
				a.log.ErrorContext(ctx, "what programs did was not recorded; it is kept for the next try", "err", err)
			}
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := a.RecordUse(last); err != nil {
		a.log.ErrorContext(last, "what programs did last was not recorded", "err", err)
	}
}
