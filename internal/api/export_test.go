package api

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// SetStall sets how long a reader may leave an answer unread; before the first request.
func (a *API) SetStall(d time.Duration) { a.stall = d }

// SetStreams sets how many live streams there may be, and of one person; before the first request.
func (a *API) SetStreams(most, ofUser int) { a.streams.most, a.streams.ofUser = most, ofUser }

// Route is one operation, for tests of them all.
type Route struct {
	Method, Path, ID string
	Public           bool
	Permission       lh.Permission
}

// Routes lists every operation.
func Routes() []Route {
	var out []Route
	for _, r := range routes {
		out = append(out, Route{r.method, r.path, r.id, r.public, r.permission})
	}
	return out
}

// ConsibioRoutes lists every operation of the Consibio facades, by whole paths.
func ConsibioRoutes() []Route {
	var out []Route
	for _, f := range []struct {
		at     string
		routes []consibioRoute
	}{{consibioV2, consibioV2Routes()}, {consibioV1, consibioV1Routes()}} {
		for _, r := range f.routes {
			out = append(out, Route{r.method, f.at + r.path, r.id, r.public, r.permission})
		}
	}
	return out
}

// Watches returns how many projects are looked after for who listens.
func (a *API) Watches() int {
	a.watches.mu.Lock()
	defer a.watches.mu.Unlock()
	return len(a.watches.by)
}

// Looker returns what asks, as a watch does each time, who of some may listen to a project and what there is to see.
func Looker(db *store.DB, a *access.Access, project lh.ProjectID, ps []access.Principal) func(context.Context) error {
	w := &watch{api: &API{Config: Config{DB: db, Access: a, Now: time.Now}}, project: project}
	ls := make([]*listener, len(ps))
	for i, p := range ps {
		ls[i] = &listener{principal: p}
	}
	return func(ctx context.Context) error {
		_, _, err := w.check(ctx, ls)
		return err
	}
}
