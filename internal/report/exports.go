package report

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Bounds of one export's table.
const (
	MaxLongElements = 10_000
	MaxWideElements = 200
	maxBuckets      = 1_000_000 // of each element
)

// Options are what exports work with. DB, Series, Hub and Asker must be set; another zero field has the default in brackets.
type Options struct {
	DB     *store.DB
	Series *series.Engine
	// Hub gives the scope of the hub's own work in a project, Asker what an export's asker may do there now.
	Hub   func(lh.ProjectID) store.Scope
	Asker func(context.Context, lh.Actor, lh.ProjectID) (store.Scope, error)

	Workers int           // exports made at once by this hub [2]
	MaxSize int64         // bytes of a file [1 GiB]
	MaxTime time.Duration // to make one [2 h]
	Keep    time.Duration // a file that is ready [72 h]
	Lease   time.Duration // of a turn, after whose end another hub begins anew [1 min]
	Poll    time.Duration // for exports that another hub was asked for [2 s]

	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Exports makes and hands out exports. Its methods may be called concurrently; Run once.
type Exports struct {
	o     Options
	nudge chan struct{}

	running        atomic.Int64
	ended          *prometheus.CounterVec
	bytes, samples prometheus.Counter
	afterParts     func(store.ExportTurn) // of tests: called when parts are kept
}

// New returns exports that nobody makes before Run runs.
func New(o Options) *Exports {
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.MaxSize == 0 {
		o.MaxSize = 1 << 30
	}
	for _, d := range []struct {
		of   *time.Duration
		then time.Duration
	}{{&o.MaxTime, 2 * time.Hour}, {&o.Keep, 72 * time.Hour}, {&o.Lease, time.Minute}, {&o.Poll, 2 * time.Second}} {
		if *d.of == 0 {
			*d.of = d.then
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	x := &Exports{o: o, nudge: make(chan struct{}, 1)}
	x.ended = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_exports_total", Help: "Turns at making an export, by how they ended."}, []string{"outcome"})
	x.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "loggerhead_export_bytes_total", Help: "Bytes of exports' files made."})
	x.samples = prometheus.NewCounter(prometheus.CounterOpts{Name: "loggerhead_export_samples_total", Help: "Samples written into exports."})
	o.Registerer.MustRegister(x.ended, x.bytes, x.samples, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_exports_running",
		Help: "Exports that this hub is making."}, func() float64 { return float64(x.running.Load()) }))
	return x
}

// Ask checks what is asked for and puts it in line. Of the elements, none is all of the location, and without one all that
// the scope sees. Zone "" is the project's.
func (x *Exports) Ask(ctx context.Context, sc store.Scope, q lh.ExportRequest, location lh.LocationID) (lh.Export, error) {
	p, err := x.o.DB.Project(ctx, sc)
	if err != nil {
		return lh.Export{}, err
	}
	if q.Zone == "" {
		q.Zone = p.Zone
	}
	if _, err := calc.ParseZone(q.Zone); err != nil {
		return lh.Export{}, err
	}
	switch q.Kind {
	case lh.ExportProject:
		if q.Format != "" && q.Format != lh.ExportZIP || len(q.Elements) > 0 || location != "" || q.Step != "" || q.Layout != "" {
			return lh.Export{}, lh.Errorf(lh.Invalid, "an export of the whole project is a ZIP of everything in it; leave the rest out")
		}
		q = lh.ExportRequest{Kind: q.Kind, Format: lh.ExportZIP, Zone: "UTC"}
		whole(&q)
	case "", lh.ExportSeries:
		q.Kind = lh.ExportSeries
		if q, err = x.checkSeries(ctx, sc, q, location); err != nil {
			return lh.Export{}, err
		}
	default:
		return lh.Export{}, lh.Errorf(lh.Invalid, "there is no kind of export %.40q; it is series or project", q.Kind)
	}
	e, err := x.o.DB.CreateExport(ctx, sc, lh.Export{Request: q, Name: fileName(p.Name, q)})
	if err == nil {
		select {
		case x.nudge <- struct{}{}:
		default:
		}
	}
	return e, err
}

func (x *Exports) checkSeries(ctx context.Context, sc store.Scope, q lh.ExportRequest, location lh.LocationID) (lh.ExportRequest, error) {
	wrong := func(format string, args ...any) (lh.ExportRequest, error) {
		return q, lh.Errorf(lh.Invalid, format, args...)
	}
	if q.Format == "" {
		q.Format = lh.ExportCSV
	}
	if q.Layout == "" {
		q.Layout = lh.ExportWide
	}
	switch q.Format {
	case lh.ExportCSV, lh.ExportNDJSON, lh.ExportXLSX, lh.ExportParquet:
	default:
		return wrong("there is no format %.40q of series; it is csv, ndjson, xlsx or parquet", q.Format)
	}
	switch q.Layout {
	case lh.ExportWide, lh.ExportLong:
	case lh.ExportConsibio:
		if q.Format != lh.ExportCSV {
			return wrong("the layout consibio is of CSV only")
		}
		if q.Flags {
			return wrong("the layout consibio has no place for flags")
		}
	default:
		return wrong("there is no layout %.40q; it is wide, long or consibio", q.Layout)
	}
	if q.From > q.To || q.From < lh.MinMillis || q.To > lh.MaxMillis+1 {
		return wrong("the range needs from not after to, both within the years 1 to 9999")
	}
	if q.AsOf < 0 || q.AsOf > lh.MaxMillis {
		return wrong("as_of is no moment")
	}
	if q.Step == "" && len(q.Functions) > 0 {
		return wrong("functions are of buckets; add a step")
	}
	if q.Step != "" {
		step, err := calc.ParseStep(q.Step)
		if err != nil {
			return q, err
		}
		if _, _, err := calc.ParseFunctions(q.Functions); err != nil {
			return q, err
		}
		zone, err := calc.ParseZone(q.Zone)
		if err != nil {
			return q, err
		}
		cal, err := calc.NewCalendar(step, zone)
		if err != nil {
			return q, err
		}
		if width := cal.Next(q.From) - cal.Start(q.From); int64(q.To-q.From)/int64(width) > maxBuckets {
			return wrong("the range has more than %d buckets; ask for longer buckets or a shorter range", maxBuckets)
		}
	}
	seen, err := x.o.DB.Elements(ctx, sc)
	if err != nil {
		return q, err
	}
	if location != "" {
		if _, err := x.o.DB.Location(ctx, sc, location); err != nil {
			return q, err
		}
	}
	if len(q.Elements) == 0 {
		for _, e := range seen {
			if location == "" || e.Location == location {
				q.Elements = append(q.Elements, e.ID)
			}
		}
		if len(q.Elements) == 0 {
			return wrong("there are no elements to export")
		}
	} else {
		if location != "" {
			return wrong("give elements or a location, not both")
		}
		there := map[lh.ElementID]bool{}
		for _, e := range seen {
			there[e.ID] = true
		}
		for i, id := range q.Elements {
			if !there[id] {
				return q, lh.Errorf(lh.NotFound, "there is no such element in this project, or it is not yours to see")
			}
			if slices.Contains(q.Elements[:i], id) {
				return wrong("the element %s is asked for twice", id)
			}
		}
	}
	most, what := MaxLongElements, "this"
	if q.Layout != lh.ExportLong {
		most, what = MaxWideElements, "a wide"
	}
	if len(q.Elements) > most {
		return wrong("%s layout holds at most %d elements, and %d are asked for; choose the long layout, or some of them", what, most, len(q.Elements))
	}
	return q, nil
}

// Type is the media type of an export's file.
func Type(f lh.ExportFormat) string {
	switch f {
	case lh.ExportCSV:
		return "text/csv; charset=utf-8"
	case lh.ExportNDJSON:
		return "application/x-ndjson"
	case lh.ExportXLSX:
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case lh.ExportParquet:
		return "application/vnd.apache.parquet"
	case lh.ExportZIP:
		return "application/zip"
	}
	return "application/octet-stream"
}

// SafeName is a file's name without what a header or a file system could take for something else.
func SafeName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, name)
}
