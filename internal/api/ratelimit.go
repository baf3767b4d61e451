package api

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// How much an operation takes of its caller's rate limit, in points. What is not heavy takes one.
const (
	costRead   = 5  // reads many samples
	costExport = 50 // reads all there is
	costSend   = 2  // waits for the disk
)

// admission lets requests pass as far as the limits allow.
type admission struct {
	limiter *access.Limiter
	refused *prometheus.CounterVec
}

func newAdmission(l access.Limits, now func() time.Time, metrics prometheus.Registerer) admission {
	a := admission{access.NewLimiter(l, now), prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_api_limited_total",
		Help: "Requests refused by a rate limit, by whose they were and by which limit."}, []string{"who", "limit"})}
	metrics.MustRegister(a.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_api_limit_buckets",
		Help: "Principals and networks of strangers whose requests are counted."}, func() float64 { return float64(a.limiter.Buckets()) }))
	return a
}

// say tells the caller how much is left (draft-ietf-httpapi-ratelimit-headers-10), and when to come back.
func say(h http.Header, v access.Verdict) {
	if !v.Limited {
		return
	}
	h.Set("RateLimit-Policy", fmt.Sprintf(`"points";q=%d;w=%d`, v.Burst, wholeSeconds(v.Window)))
	h.Set("RateLimit", fmt.Sprintf(`"points";r=%d;t=%d`, v.Remaining, wholeSeconds(v.Full)))
}

// tooMuch is the problem of a request that came too early.
func tooMuch(after int, format string, args ...any) error {
	p := newProblem(lh.Exhausted, http.StatusTooManyRequests, fmt.Sprintf(format, args...))
	p.after = max(1, after)
	return p
}

// wholeSeconds rounds up: who comes back then does not come too early.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// stranger lets somebody pass who is not known, or not yet. Exhausted: too many such requests came from their network.
func (a *API) stranger(w http.ResponseWriter, r *http.Request) error {
	v := a.admission.limiter.Stranger(access.Network(r.RemoteAddr).String(), 1)
	say(w.Header(), v)
	if v.OK {
		return nil
	}
	a.admission.refused.WithLabelValues("stranger", "rate").Inc()
	return tooMuch(wholeSeconds(v.Retry), "too many requests from your network without a log-in or key that is good")
}

// admit lets a principal's request pass, and counts it where the principal is a program. leave must be called at its end.
// Exhausted: the principal asks for too much, or for too much at once.
func (a *API) admit(w http.ResponseWriter, r *http.Request, p access.Principal, op route) (leave func(), err error) {
	who := "person"
	if p.Kind != lh.ActorUser {
		who = "program"
	}
	id := p.Actor().ID
	v := a.admission.limiter.Principal(id, max(op.cost, 1))
	say(w.Header(), v)
	if !v.OK {
		a.admission.refused.WithLabelValues(who, "rate").Inc()
		return nil, tooMuch(wholeSeconds(v.Retry), "you have used up your %d points (most requests take 1, series %d, exports %d); ask for more at a time, less often",
			v.Burst, costRead, costExport)
	}
	leave = func() {}
	if op.class != classLive { // which lasts, and is bounded by itself
		if leave, err = a.admission.limiter.Enter(r.Context(), id); err != nil {
			if lh.CodeOf(err) == lh.Exhausted {
				a.admission.refused.WithLabelValues(who, "at once").Inc()
				return nil, tooMuch(1, "%s", lh.PublicMessage(err))
			}
			return nil, err
		}
	}
	a.Access.Count(p, classOf(op, r.Method), 1, 0)
	return leave, nil
}

// Classes by which it is counted what programs do, beside "read" and "change".
const (
	classSeries = "series"
	classLatest = "latest"
	classLive   = "live"
	classExport = "export"
	classSend   = "send"
)

func classOf(op route, method string) string {
	switch {
	case op.class != "":
		return op.class
	case method == http.MethodGet || method == http.MethodHead:
		return "read"
	}
	return "change"
}

// tally counts the samples of one answer.
type tally struct{ samples atomic.Int64 }

type tallyKey struct{}

// countSamples adds samples to what the caller is counted to have read.
func countSamples(ctx context.Context, n int) {
	if t, _ := ctx.Value(tallyKey{}).(*tally); t != nil {
		t.samples.Add(int64(n))
	}
}

// answer has next answer a principal's request within the limits.
func (a *API) answer(w http.ResponseWriter, r *http.Request, p access.Principal, next http.Handler) {
	op := a.find(r)
	leave, err := a.admit(w, r, p, op)
	if err != nil {
		problemOf(a.Log, r, err).write(w)
		return
	}
	defer leave()
	ctx := context.WithValue(r.Context(), principalKey{}, p)
	if p.Kind != lh.ActorUser {
		t := &tally{}
		ctx = context.WithValue(ctx, tallyKey{}, t)
		defer func() {
			if n := t.samples.Load(); n > 0 {
				a.Access.Count(p, classOf(op, r.Method), 0, n)
			}
		}()
	}
	next.ServeHTTP(w, r.WithContext(ctx))
}

// finder returns what finds the operation of a request; the zero route where there is none.
func finder(mux *http.ServeMux) func(*http.Request) route {
	by := map[string]route{}
	for _, r := range routes {
		by[r.method+" "+r.path] = r
	}
	return func(r *http.Request) route {
		_, pattern := mux.Handler(r)
		return by[pattern]
	}
}
