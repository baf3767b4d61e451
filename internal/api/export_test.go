package api

import (
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
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
