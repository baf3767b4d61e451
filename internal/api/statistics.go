package api

import (
	"bufio"
	"context"
	"math"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// maxStatistics bounds the buckets of one answer, of all elements together.
const maxStatistics = 1_000_000

type statisticsInput struct {
	ProjectPath
	Elements  []lh.ElementID `query:"elements" required:"true" minItems:"1" maxItems:"50" doc:"Ids, by commas"`
	From      lh.Millis      `query:"from" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"First instant, included"`
	To        lh.Millis      `query:"to" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"Last instant, excluded"`
	Step      string         `query:"step" required:"true" maxLength:"6" example:"P1D" doc:"Length of a bucket as an ISO 8601 duration of one unit: PT10S, PT15M, PT1H, P1D, P1W, P1M, P1Y"`
	Zone      string         `query:"zone" maxLength:"64" doc:"Where days are cut: an IANA time zone, or a fixed offset such as +01:00; without it the location's, else the project's"`
	Functions []string       `query:"functions" maxItems:"32" doc:"By commas: mean, min, max, sum, first, last, std_dev, time_mean_linear, time_mean_carried, increase (of a counter), direction (unit-vector mean of degrees), direction_std_dev (Yamartino), p0 to p100 (percentiles, such as p50 or p97.5); without it mean, min, max"`
	AsOf      lh.Millis      `query:"as_of" minimum:"0" maximum:"253402300800000" doc:"Read the series as it stood at that moment; 0 is now"`
	Raw       bool           `query:"raw" doc:"Read what was measured, without corrections and approvals"`
}

// Statistics is the answer: each array has one entry a bucket.
type Statistics struct {
	Step       string              `json:"step"`
	Statistics []ElementStatistics `json:"statistics" nullable:"false"`
}

// ElementStatistics is one element's part.
type ElementStatistics struct {
	ElementID lh.ElementID `json:"element_id"`
	Zone      string       `json:"zone" doc:"In which its buckets are cut"`
	Buckets   []Bucket     `json:"buckets" nullable:"false"`
}

// Bucket is one bucket's statistics.
type Bucket struct {
	From       lh.Millis           `json:"from"`
	To         lh.Millis           `json:"to"`
	Expected   int64               `json:"expected" doc:"Samples the element's interval lets expect; 0 is unknown"`
	Received   int64               `json:"received"`
	Good       int64               `json:"good" doc:"Neither bad nor suspect"`
	Incomplete bool                `json:"incomplete" doc:"Fewer than three quarters of the expected are good, or a total has a gap in it"`
	Flag       int                 `json:"flag" doc:"The worst, by QARTOD; 9 where nothing came"`
	Values     map[string]*float64 `json:"values" doc:"By function; null where it has none"`
}

type statisticsOutput struct {
	ContentType string `header:"Content-Type"`
	Body        func(huma.Context)
}

// zoneOf finds where an element's days are cut.
func (a *API) zoneOf(ctx context.Context, sc store.Scope, asked string, e lh.Element) (*time.Location, error) {
	if asked == "" && e.Location != "" {
		l, err := a.DB.Location(ctx, sc, e.Location)
		if err != nil {
			return nil, err
		}
		asked = l.Zone
	}
	if asked == "" {
		p, err := a.DB.Project(ctx, sc)
		if err != nil {
			return nil, err
		}
		asked = p.Zone
	}
	return calc.ParseZone(asked)
}

func getStatistics(a *API, ctx context.Context, sc store.Scope, in *statisticsInput) (*statisticsOutput, error) {
	if in.To < in.From {
		return nil, lh.Errorf(lh.Invalid, "query.to: lies before from")
	}
	step, err := calc.ParseStep(in.Step)
	if err != nil {
		return nil, err
	}
	fs, options, err := calc.ParseFunctions(in.Functions)
	if err != nil {
		return nil, err
	}
	type question struct {
		element lh.Element
		cal     calc.Calendar
		zone    *time.Location
	}
	questions := make([]question, len(in.Elements))
	for i, id := range in.Elements {
		q := &questions[i]
		if q.element, err = a.DB.Element(ctx, sc, id); err != nil {
			return nil, err
		}
		if q.zone, err = a.zoneOf(ctx, sc, in.Zone, q.element); err != nil {
			return nil, err
		}
		if q.cal, err = calc.NewCalendar(step, q.zone); err != nil {
			return nil, err
		}
		if width := q.cal.Next(in.From) - q.cal.Start(in.From); int64(in.To-in.From)/int64(width)*int64(len(in.Elements)) > maxStatistics {
			return nil, lh.Errorf(lh.Invalid, "more than %d buckets in one answer; ask for longer buckets, a shorter range or fewer elements", maxStatistics)
		}
	}
	return &statisticsOutput{ContentType: "application/json", Body: func(c huma.Context) {
		a.stream(c, sc, func(ctx context.Context, out *bufio.Writer) error {
			out.WriteString(`{"step":` + strconv.Quote(step.String()) + `,"statistics":[`) // bufio keeps the error for Flush
			for i, q := range questions {
				if i > 0 {
					out.WriteByte(',')
				}
				out.WriteString(`{"element_id":` + strconv.Quote(string(q.element.ID)) + `,"zone":` + strconv.Quote(q.zone.String()) + `,"buckets":[`)
				first := true
				line := make([]byte, 0, 256)
				err := a.Series.Aggregate(ctx, sc, q.element, in.From, in.To, series.View{Raw: in.Raw, AsOf: in.AsOf}, q.cal, options, func(s *calc.Stats) error {
					line = line[:0]
					if !first {
						line = append(line, ',')
					}
					first = false
					line = appendBucket(line, s, fs)
					_, err := out.Write(line)
					return err
				})
				if err != nil {
					return err
				}
				out.WriteString(`]}`)
			}
			_, err := out.WriteString("]}\n")
			return err
		})
	}}, nil
}

// appendBucket writes a bucket as JSON, without an allocation.
func appendBucket(b []byte, s *calc.Stats, fs []calc.Function) []byte {
	number := func(name string, n int64) {
		b = append(append(append(b, '"'), name...), `":`...)
		b = append(strconv.AppendInt(b, n, 10), ',')
	}
	b = append(b, '{')
	number("from", int64(s.Start))
	number("to", int64(s.End))
	number("expected", s.Expected)
	number("received", s.Received)
	number("good", s.Good)
	b = strconv.AppendBool(append(b, `"incomplete":`...), s.Incomplete)
	b = append(b, ',')
	number("flag", int64(s.Flag))
	b = append(b, `"values":{`...)
	for i, f := range fs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), f.Name...), `":`...)
		if v := f.Of(s); math.IsNaN(v) || math.IsInf(v, 0) {
			b = append(b, `null`...)
		} else {
			b = strconv.AppendFloat(b, v, 'g', -1, 64)
		}
	}
	return append(b, `}}`...)
}
