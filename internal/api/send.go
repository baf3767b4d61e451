package api

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
)

// Where clients of InfluxDB send, of version 2 and 1.
const (
	influxV2Path = "/api/v2/write"
	influxV1Path = "/write"
)

// Bounds of one sending.
const (
	maxSendBody  = 2 << 20 // as it comes
	maxSendText  = 8 << 20 // unpacked
	maxRowErrors = 100     // named; the rest is counted
)

// isInflux reports whether a request comes from a client of InfluxDB, which finds errors elsewhere than in a problem.
func isInflux(r *http.Request) bool { return r.URL.Path == influxV2Path || r.URL.Path == influxV1Path }

// byIntegration is an operation for the keys of integrations, and nobody else.
func byIntegration[I, O any](method, path, id, summary string, h func(*API, context.Context, access.Principal, *I) (*O, error)) route {
	r := route{method: method, path: path, id: id}
	r.register = func(a *API, r route) {
		op := operation(r, summary)
		op.Security = []map[string][]string{{"integration": {}}}
		op.RejectUnknownQueryParameters = !strings.HasSuffix(path, influxV1Path) // clients send names of databases and the like
		op.BodyReadTimeout = bodyPatience
		register(a, r, op, func(a *API, ctx context.Context, in *I) (*O, error) {
			p := principal(ctx)
			switch p.Kind {
			case "":
				return nil, lh.Errorf(lh.Unauthenticated, "log in first, or again")
			case lh.ActorIntegration:
				return h(a, ctx, p, in)
			}
			return nil, lh.Errorf(lh.Forbidden, "only an integration sends samples, by its own key; an administrator of the project makes one")
		})
	}
	return r
}

// SendPath names the integration whose key is sent, for [byIntegration].
type SendPath struct {
	Integration lh.IntegrationID `path:"integration" maxLength:"40"`
}

func (s SendPath) check(p access.Principal) error {
	if s.Integration != p.Integration.ID {
		return lh.Errorf(lh.NotFound, "there is no such integration, or this key is not its")
	}
	return nil
}

// SentSample is one sample that an integration sends.
type SentSample struct {
	Element string    `json:"element" maxLength:"200" doc:"Id of an element of the integration's list, or its name there"`
	Time    lh.Millis `json:"time" doc:"UTC milliseconds since 1970-01-01"`
	Value   float64   `json:"value"`
	Flag    int       `json:"flag,omitempty" default:"1" enum:"1,2,3,4,9" doc:"QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 bad, 9 missing"`
}

type sendSamplesInput struct {
	SendPath
	Body struct {
		Samples []SentSample `json:"samples" minItems:"1" maxItems:"20000" nullable:"false"`
	}
}

// Sent is what became of samples that were sent.
type Sent struct {
	Stored  int `json:"stored" doc:"On disk, synced"`
	Skipped int `json:"skipped" doc:"Left out: they name no element of the list, and the integration is set to skip those"`
}

// rowErrors gathers what is wrong with rows.
type rowErrors struct {
	found []ProblemDetail
	count int
}

func (e *rowErrors) add(location, format string, args ...any) {
	if e.count++; len(e.found) < maxRowErrors {
		e.found = append(e.found, ProblemDetail{Message: fmt.Sprintf(format, args...), Location: location})
	}
}

// problem returns nil where nothing is wrong.
func (e *rowErrors) problem() error {
	if e.count == 0 {
		return nil
	}
	p := newProblem(lh.Invalid, http.StatusBadRequest, e.found[0].Location+": "+e.found[0].Message)
	if e.count > 1 {
		p.Detail += fmt.Sprintf("; and %d more are wrong", e.count-1)
	}
	p.Detail += ". Nothing of it was stored."
	p.Errors = e.found
	return p
}

func sendSamples(a *API, ctx context.Context, p access.Principal, in *sendSamplesInput) (*one[Sent], error) {
	if err := in.check(p); err != nil {
		return nil, err
	}
	free, err := a.DB.FreeElements(ctx, a.Access.SendScope(p))
	if err != nil {
		return nil, err
	}
	by := map[string]lh.ElementID{}
	for _, e := range p.Integration.Elements {
		if free[e.Element] {
			by[string(e.Element)] = e.Element
			if e.Name != "" {
				by[e.Name] = e.Element
			}
		}
	}
	var wrong rowErrors
	rows := make([]ingest.Row, 0, len(in.Body.Samples))
	skipped := 0
	for i, s := range in.Body.Samples {
		at := func(field string) string { return fmt.Sprintf("body.samples[%d].%s", i, field) }
		id, ok := by[s.Element]
		switch {
		case !ok && p.Integration.SkipUnknown:
			skipped++
		case !ok:
			wrong.add(at("element"), "the integration has no element %q in its list", s.Element)
		case s.Time < lh.MinMillis || s.Time > lh.MaxMillis:
			wrong.add(at("time"), "it is in none of the years 1 to 9999; times are milliseconds")
		default:
			rows = append(rows, ingest.Row{Element: id, Time: s.Time, Value: s.Value, Flag: lh.Flag(cmp.Or(s.Flag, int(lh.FlagGood)))})
		}
	}
	if err := wrong.problem(); err != nil {
		return nil, err
	}
	return a.send(ctx, p, rows, skipped)
}

// send stores rows: all, or none.
func (a *API) send(ctx context.Context, p access.Principal, rows []ingest.Row, skipped int) (*one[Sent], error) {
	if err := a.Send(ctx, a.Access.SendScope(p), rows); err != nil {
		return nil, err
	}
	countSamples(ctx, len(rows))
	return &one[Sent]{Sent{len(rows), skipped}}, nil
}

type writeLinesInput struct {
	SendPath
	Precision string `query:"precision" enum:"ns,us,ms,s,n,u,m,h" doc:"Of the timestamps; without it ns"`
}

type influxInput struct {
	Precision string `query:"precision" maxLength:"4" doc:"Of the timestamps; without it ns"`
}

func writeLines(a *API, ctx context.Context, p access.Principal, in *writeLinesInput) (*struct{}, error) {
	if err := in.check(p); err != nil {
		return nil, err
	}
	return nil, a.writeLines(ctx, p, in.Precision)
}

func writeInflux(a *API, ctx context.Context, p access.Principal, in *influxInput) (*struct{}, error) {
	return nil, a.writeLines(ctx, p, in.Precision)
}

// lineBody describes the body that the handlers read themselves.
func lineBody(op *huma.Operation) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: "string",
		Description: "InfluxDB line protocol, also with Content-Encoding: gzip. At most 20,000 values, 2 MiB as sent and 8 MiB unpacked."}}}}
}

// text reads a request's body, unpacked.
func text(r *http.Request) ([]byte, error) {
	in := io.Reader(r.Body)
	large := newProblem(codeTooLarge, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes as sent or %d unpacked; send less at a time", maxSendBody, maxSendText))
	switch e := r.Header.Get("Content-Encoding"); e {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, lh.Errorf(lh.Invalid, "the body says it is gzip, and is not")
		}
		in = z
	default:
		return nil, newProblem(codeType, http.StatusUnsupportedMediaType, "a body is sent as it is or as gzip, and not as "+e)
	}
	b, err := io.ReadAll(io.LimitReader(in, maxSendText+1))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || len(b) > maxSendText {
		return nil, large
	}
	if err != nil {
		return nil, lh.Errorf(lh.Invalid, "the body breaks off, or is damaged")
	}
	return b, nil
}

func (a *API) writeLines(ctx context.Context, p access.Principal, precision string) error {
	perMilli, millis, ok := linePrecision(precision)
	if !ok {
		return lh.Errorf(lh.Invalid, "query.precision: it is ns, us, ms or s")
	}
	r, _ := request(ctx)
	body, err := text(r)
	if err != nil {
		return err
	}
	free, err := a.DB.FreeElements(ctx, a.Access.SendScope(p))
	if err != nil {
		return err
	}
	names := lineNames(p.Integration, free)
	now := lh.MillisOf(a.Now())
	var wrong rowErrors
	var rows []ingest.Row
	skipped := 0
	lines := lineReader{data: body}
	for {
		point, done, err := lines.next()
		if done {
			break
		}
		at := fmt.Sprintf("line %d", point.line)
		if err != nil {
			wrong.add(at, "%s", lh.PublicMessage(err))
			continue
		}
		t := now
		if point.timed {
			if t, ok = lineMillis(point.time, perMilli, millis); !ok {
				wrong.add(at, "its time is in none of the years 1 to 9999; is the precision right?")
				continue
			}
		}
		for _, f := range point.fields {
			id, known := names.find(point, f.key)
			switch {
			case !known && p.Integration.SkipUnknown:
				skipped++
			case !known:
				wrong.add(at, "the integration has no element for measurement %q, field %q, with these tags", point.measurement, f.key)
			case f.text:
				wrong.add(at, "field %q is a text; samples are numbers", f.key)
			case len(rows) == ingest.MaxRows:
				return newProblem(codeTooLarge, http.StatusRequestEntityTooLarge, fmt.Sprintf("more than %d values at once; send less at a time", ingest.MaxRows))
			default:
				rows = append(rows, ingest.Row{Element: id, Time: t, Value: f.value, Flag: lh.FlagGood})
			}
		}
	}
	if err := wrong.problem(); err != nil {
		return err
	}
	_, err = a.send(ctx, p, rows, skipped)
	return err
}

// pointNames finds the element of a field by what it is called in line protocol.
type pointNames map[[2]string][]lh.IntegrationElement // by measurement and field; those with most tags first

func lineNames(i lh.Integration, free map[lh.ElementID]bool) pointNames {
	names := pointNames{}
	for _, e := range i.Elements {
		if e.Measurement != "" && free[e.Element] {
			k := [2]string{e.Measurement, e.Field}
			names[k] = append(names[k], e)
		}
	}
	for k := range maps.Keys(names) {
		slices.SortStableFunc(names[k], func(a, b lh.IntegrationElement) int { return cmp.Compare(len(b.Tags), len(a.Tags)) })
	}
	return names
}

// find returns the element all of whose tags the point has; of several, the one with most.
func (n pointNames) find(p linePoint, field string) (lh.ElementID, bool) {
	for _, e := range n[[2]string{p.measurement, field}] {
		fits := true
		for k, v := range e.Tags {
			fits = fits && slices.Contains(p.tags, lineTag{k, v})
		}
		if fits {
			return e.Element, true
		}
	}
	return "", false
}
