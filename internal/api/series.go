package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Bounds of one question for series.
const (
	// maxPoints is what one answer in memory (JSON, columns) holds in all; CSV streams without a bound.
	maxPoints = 1_000_000
	// writeStall is how long a client may leave an answer unread before it is cut off.
	writeStall = 30 * time.Second
)

type seriesInput struct {
	ProjectPath
	Elements []lh.ElementID `query:"elements" required:"true" minItems:"1" maxItems:"50" doc:"Ids, by commas"`
	From     lh.Millis      `query:"from" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"First instant, included"`
	To       lh.Millis      `query:"to" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"Last instant, excluded"`
	Points   int            `query:"points" minimum:"0" maximum:"100000" doc:"At most so many points per element, by the least and greatest of each bucket, so that every spike stays; 0 is raw"`
	Format   string         `query:"format" enum:"json,csv,columns" default:"json"`
	AsOf     lh.Millis      `query:"as_of" minimum:"0" maximum:"253402300800000" doc:"Read the series as it stood at that moment; 0 is now"`
	Raw      bool           `query:"raw" doc:"Read what was measured, without corrections and approvals"`
}

func (in *seriesInput) view() series.View { return series.View{Raw: in.Raw, AsOf: in.AsOf} }

// Series is the answer as JSON.
type Series struct {
	From   lh.Millis       `json:"from"`
	To     lh.Millis       `json:"to"`
	Series []ElementSeries `json:"series" nullable:"false"`
}

// ElementSeries is one element's part: three arrays of one length.
type ElementSeries struct {
	ElementID  lh.ElementID   `json:"element_id"`
	Reduced    bool           `json:"reduced" doc:"Points are the least and greatest of buckets, not all samples"`
	IntervalMs int64          `json:"interval_ms" doc:"Expected time between samples; 0 is unknown"`
	Count      int64          `json:"count" doc:"Samples in the range"`
	Times      []lh.Millis    `json:"times" nullable:"false"`
	Values     []float64      `json:"values" nullable:"false"`
	Flags      []int          `json:"flags" nullable:"false" doc:"QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 bad, 9 missing"`
	Gaps       [][2]lh.Millis `json:"gaps" nullable:"false" doc:"Where more than 2.5 expected intervals lie between two samples: the times of the samples before and after"`
}

// seriesOutput streams one of the formats; Body is the JSON one, for the description.
type seriesOutput struct {
	Body func(huma.Context)
}

func getSeries(a *API, ctx context.Context, sc store.Scope, in *seriesInput) (*seriesOutput, error) {
	if in.To < in.From {
		return nil, lh.Errorf(lh.Invalid, "query.to: lies before from")
	}
	if in.Points == 1 {
		return nil, lh.Errorf(lh.Invalid, "query.points: a bucket has two points; ask for 2 or more, or 0 for all")
	}
	if in.Format != "csv" && in.Points*len(in.Elements) > maxPoints {
		return nil, lh.Errorf(lh.Invalid, "query.points: %d elements of %d points pass the %d of one answer; ask for fewer, or format=csv, which has no bound", len(in.Elements), in.Points, maxPoints)
	}
	elements := make([]lh.Element, len(in.Elements))
	for i, id := range in.Elements {
		var err error
		if elements[i], err = a.DB.Element(ctx, sc, id); err != nil {
			return nil, err
		}
	}
	if in.Format == "csv" {
		return &seriesOutput{func(c huma.Context) { a.writeCSV(c, sc, in, elements) }}, nil
	}
	reduced := make([]series.Reduced, len(elements))
	total := 0
	for i, e := range elements {
		var err error
		if reduced[i], err = a.reduce(ctx, sc, e, in, maxPoints-total); err != nil {
			return nil, err
		}
		total += len(reduced[i].Samples)
	}
	countSamples(ctx, total)
	if in.Format == "columns" {
		return &seriesOutput{func(c huma.Context) {
			c.SetHeader("Content-Type", columnsType)
			a.patient(c).Write(encodeColumns(elements, reduced)) // the asker has gone if it fails
		}}, nil
	}
	out := Series{From: in.From, To: in.To, Series: make([]ElementSeries, len(elements))}
	for i, e := range elements {
		out.Series[i] = jsonSeries(e, reduced[i])
	}
	return &seriesOutput{func(c huma.Context) {
		c.SetHeader("Content-Type", "application/json")
		json.NewEncoder(a.patient(c)).Encode(out) // likewise
	}}, nil
}

// reduce asks for one element's points; raw ones are counted while they come, so that a wide raw question is refused
// before it fills the memory.
func (a *API) reduce(ctx context.Context, sc store.Scope, e lh.Element, in *seriesInput, most int) (series.Reduced, error) {
	if in.Points > 0 {
		return a.Series.ReduceView(ctx, sc, e, in.From, in.To, in.Points, in.view())
	}
	n := 0
	for _, err := range a.Series.ReadView(ctx, sc, e, in.From, in.To, in.view()) {
		if err != nil {
			return series.Reduced{}, err
		}
		if n++; n > most {
			return series.Reduced{}, lh.Errorf(lh.Exhausted, "more than %d samples in one answer; ask for fewer points, a shorter range, or format=csv, which has no bound", maxPoints)
		}
	}
	return a.Series.ReduceView(ctx, sc, e, in.From, in.To, 0, in.view())
}

func jsonSeries(e lh.Element, r series.Reduced) ElementSeries {
	n := len(r.Samples)
	s := ElementSeries{ElementID: e.ID, Reduced: r.Reduced, IntervalMs: e.Interval, Count: r.Count, Gaps: r.Gaps,
		Times: make([]lh.Millis, n), Values: make([]float64, n), Flags: make([]int, n)}
	if s.Gaps == nil {
		s.Gaps = [][2]lh.Millis{}
	}
	for i, p := range r.Samples {
		s.Times[i], s.Values[i], s.Flags[i] = p.Time, p.Value, int(p.Flag)
	}
	return s
}

// writeCSV streams every sample, or the reduced points, one a line.
func (a *API) writeCSV(c huma.Context, sc store.Scope, in *seriesInput, elements []lh.Element) {
	c.SetHeader("Content-Type", "text/csv; charset=utf-8")
	c.SetHeader("Content-Disposition", `attachment; filename="series.csv"`)
	a.stream(c, sc, func(ctx context.Context, out *bufio.Writer) error {
		line, lines := make([]byte, 0, 128), 0
		defer func() { countSamples(ctx, lines) }()
		put := func(e lh.Element, s lh.Sample) error {
			line = s.Time.Time().AppendFormat(line[:0], "2006-01-02T15:04:05.000Z")
			line = append(append(append(line, ','), e.ID...), ',')
			line = strconv.AppendFloat(line, s.Value, 'g', -1, 64)
			line = append(strconv.AppendUint(append(line, ','), uint64(s.Flag), 10), '\n')
			_, err := out.Write(line)
			lines++
			return err
		}
		if _, err := out.WriteString("time,element_id,value,flag\n"); err != nil {
			return err
		}
		for _, e := range elements {
			if in.Points > 0 {
				red, err := a.Series.ReduceView(ctx, sc, e, in.From, in.To, in.Points, in.view())
				if err != nil {
					return err
				}
				for _, s := range red.Samples {
					if err := put(e, s); err != nil {
						return err
					}
				}
				continue
			}
			for s, err := range a.Series.ReadView(ctx, sc, e, in.From, in.To, in.view()) {
				if err == nil {
					err = put(e, s)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// stream writes an answer of any length as it is made. An error before the first byte is a problem like any other; one
// after it cuts the connection, so that nobody takes half an answer for the whole.
func (a *API) stream(c huma.Context, sc store.Scope, write func(context.Context, *bufio.Writer) error) {
	r, w := humago.Unwrap(c)
	patient := a.patient(c)
	out := bufio.NewWriterSize(patient, 32<<10)
	err := write(r.Context(), out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil && patient.written == 0 && r.Context().Err() == nil {
		w.Header().Del("Content-Disposition")
		problemOf(a.Log, r, err).write(w)
		return
	}
	if err != nil {
		if r.Context().Err() == nil {
			a.Log.ErrorContext(r.Context(), "answer cut off", "project", sc.Project(), "path", r.URL.Path, "err", err)
		}
		panic(http.ErrAbortHandler) // net/http's way to cut the connection without a log entry
	}
}

// patient returns a writer for a long answer.
func (a *API) patient(c huma.Context) *stallWriter {
	_, w := humago.Unwrap(c)
	return a.patientWriter(w)
}

func (a *API) patientWriter(w http.ResponseWriter) *stallWriter {
	return &stallWriter{w: w, deadline: http.NewResponseController(w), stall: a.stall}
}

// stallWriter gives every piece of an answer a deadline of its own, so that a long answer may take its time and a reader
// that stalls may not: it would hold the answer in memory for as long as it likes.
type stallWriter struct {
	w        io.Writer
	deadline *http.ResponseController
	stall    time.Duration
	written  int
}

const stallPiece = 64 << 10

func (s *stallWriter) Write(b []byte) (int, error) {
	n := 0
	for len(b) > n {
		if err := s.deadline.SetWriteDeadline(time.Now().Add(s.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return n, err
		}
		k, err := s.w.Write(b[n:min(len(b), n+stallPiece)])
		n += k
		s.written += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
