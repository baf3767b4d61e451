package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/klauspost/compress/gzhttp"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Export is an export in answers.
type Export struct {
	ID       lh.ExportID      `json:"id"`
	State    lh.ExportState   `json:"state" enum:"waiting,running,ready,failed"`
	Progress *float64         `json:"progress" doc:"How much of the samples is written, 0 to 1; null while it is not known"`
	Samples  int64            `json:"samples" doc:"Samples written"`
	Expected int64            `json:"expected" doc:"Samples there are; 0 while they are not counted"`
	Size     int64            `json:"size" doc:"Bytes of the file so far"`
	Reason   string           `json:"reason,omitempty" doc:"Why it failed, and what to do"`
	Name     string           `json:"name" doc:"Of the file"`
	File     string           `json:"file,omitempty" doc:"Path of the file, when it is ready"`
	Created  lh.Millis        `json:"created"`
	ByKind   lh.ActorKind     `json:"by_kind" doc:"Who asked"`
	ByID     string           `json:"by_id"`
	Finished lh.Millis        `json:"finished" doc:"0: not yet"`
	Expires  lh.Millis        `json:"expires" doc:"When it is removed; 0 while it is not finished"`
	Request  ExportDefinition `json:"request"`
}

// ExportDefinition is what an export holds.
type ExportDefinition struct {
	Kind      lh.ExportKind   `json:"kind" enum:"series,project"`
	Elements  []lh.ElementID  `json:"elements" nullable:"false"`
	From      lh.Millis       `json:"from" doc:"First instant, included"`
	To        lh.Millis       `json:"to" doc:"Last instant, excluded"`
	Zone      string          `json:"zone"`
	Format    lh.ExportFormat `json:"format" enum:"csv,ndjson,xlsx,parquet,zip"`
	Layout    lh.ExportLayout `json:"layout,omitempty" enum:"wide,long,consibio"`
	Raw       bool            `json:"raw"`
	AsOf      lh.Millis       `json:"as_of"`
	Step      string          `json:"step,omitempty"`
	Functions []string        `json:"functions" nullable:"false"`
	Flags     bool            `json:"flags"`
}

func exportOf(e lh.Export) Export {
	q := e.Request
	out := Export{ID: e.ID, State: e.State, Samples: e.Done, Expected: e.Total, Size: e.Size, Reason: e.Reason, Name: e.Name, Created: e.Created,
		ByKind: e.By.Kind, ByID: e.By.ID, Finished: e.Finished, Expires: e.Expires,
		Request: ExportDefinition{q.Kind, q.Elements, q.From, q.To, q.Zone, q.Format, q.Layout, q.Raw, q.AsOf, q.Step, q.Functions, q.Flags}}
	if q.Elements == nil {
		out.Request.Elements = []lh.ElementID{}
	}
	if q.Functions == nil {
		out.Request.Functions = []string{}
	}
	progress := 0.0
	switch {
	case e.State == lh.ExportReady:
		progress = 1
		out.File = fmt.Sprintf("/api/v1/projects/%s/exports/%s/file", e.Project, e.ID)
	case e.Total > 0: // samples may come while it is made
		progress = min(float64(e.Done)/float64(e.Total), 1)
	case e.State == lh.ExportRunning:
		return out
	}
	out.Progress = &progress
	return out
}

var exportSheet = sheet[lh.Export]{usual: "-created", id: func(e lh.Export) string { return string(e.ID) }, by: map[string]func(lh.Export) sortKey{
	"created": func(e lh.Export) sortKey { return byNumber(e.Created) },
	"name":    func(e lh.Export) sortKey { return byText(e.Name) },
	"size":    func(e lh.Export) sortKey { return byNumber(e.Size) },
	"state":   func(e lh.Export) sortKey { return byText(e.State) },
}}

type listExportsInput struct {
	ProjectPath
	Page
	State lh.ExportState `query:"state" enum:"waiting,running,ready,failed"`
}

func listExports(a *API, ctx context.Context, sc store.Scope, in *listExportsInput) (*list[Export], error) {
	all, err := a.DB.Exports(ctx, sc)
	if err != nil {
		return nil, err
	}
	var es []lh.Export
	for _, e := range all {
		if in.State == "" || e.State == in.State {
			es = append(es, e)
		}
	}
	p, err := paged(a, ctx, in.Page, &exportSheet, es)
	if err != nil {
		return nil, err
	}
	return pageEach(p, exportOf), nil
}

type createExportInput struct {
	ProjectPath
	Body struct {
		Kind       lh.ExportKind   `json:"kind,omitempty" enum:"series,project" default:"series" doc:"“project” is a ZIP of everything: every series, what describes it, corrections, approvals, the audit trail; with it only the kind may be given"`
		Elements   []lh.ElementID  `json:"elements,omitempty" maxItems:"10000" doc:"Ids; none is all elements, of the location if one is given"`
		LocationID lh.LocationID   `json:"location_id,omitempty" maxLength:"40"`
		From       lh.Millis       `json:"from,omitempty" minimum:"-62135596800000" maximum:"253402300800000" doc:"First instant, included"`
		To         lh.Millis       `json:"to,omitempty" minimum:"-62135596800000" maximum:"253402300800000" doc:"Last instant, excluded; needed for series"`
		Zone       string          `json:"zone,omitempty" maxLength:"64" doc:"In which times are written and days are cut: an IANA time zone, or an offset such as +01:00; without it the project's"`
		Format     lh.ExportFormat `json:"format,omitempty" enum:"csv,ndjson,xlsx,parquet,zip" doc:"csv without it"`
		Layout     lh.ExportLayout `json:"layout,omitempty" enum:"wide,long,consibio" doc:"wide: a row for each time, a column for each element (at most 200); long: a row for each sample; consibio: CSV as Consibio Cloud writes it. wide without it"`
		Raw        bool            `json:"raw,omitempty" doc:"What was measured, without corrections and approvals"`
		AsOf       lh.Millis       `json:"as_of,omitempty" minimum:"0" maximum:"253402300800000" doc:"As the series stood at that moment; 0 is now"`
		Step       string          `json:"step,omitempty" maxLength:"6" example:"PT1H" doc:"Statistics of buckets of this length instead of samples, as for get-statistics"`
		Functions  []string        `json:"functions,omitempty" maxItems:"32" doc:"Of the buckets, as for get-statistics; without it mean, min, max"`
		Flags      bool            `json:"flags,omitempty" doc:"With the quality of each sample or bucket, by QARTOD"`
	}
}

type createExportOutput struct {
	Location string `header:"Location" doc:"Where its progress is"`
	Body     Export
}

func createExport(a *API, ctx context.Context, sc store.Scope, in *createExportInput) (*createExportOutput, error) {
	b := in.Body
	if b.Kind == lh.ExportSeries && b.To == 0 && b.From == 0 {
		return nil, lh.Errorf(lh.Invalid, "body.to: an export of series needs from and to")
	}
	e, err := a.Exports.Ask(ctx, sc, lh.ExportRequest{Kind: b.Kind, Elements: b.Elements, From: b.From, To: b.To, Zone: b.Zone, Format: b.Format, Layout: b.Layout,
		Raw: b.Raw, AsOf: b.AsOf, Step: b.Step, Functions: b.Functions, Flags: b.Flags}, b.LocationID)
	if err != nil {
		return nil, err
	}
	return &createExportOutput{fmt.Sprintf("/api/v1/projects/%s/exports/%s", e.Project, e.ID), exportOf(e)}, nil
}

type ExportPath struct {
	ProjectPath
	Export lh.ExportID `path:"export" maxLength:"40"`
}

func getExport(a *API, ctx context.Context, sc store.Scope, in *ExportPath) (*one[Export], error) {
	e, err := a.DB.Export(ctx, sc, in.Export)
	if err != nil {
		return nil, err
	}
	return &one[Export]{exportOf(e)}, nil
}

func removeExport(a *API, ctx context.Context, sc store.Scope, in *ExportPath) (*struct{}, error) {
	return nil, a.DB.RemoveExport(ctx, sc, in.Export)
}

// getExportFile sends a file as it is kept, whole or the ranges asked for. Each part is read only when the one before is
// on its way, and asks the database anew whether the export is still there.
func getExportFile(a *API, ctx context.Context, sc store.Scope, in *ExportPath) (*seriesOutput, error) {
	e, err := a.DB.Export(ctx, sc, in.Export)
	if err != nil {
		return nil, err
	}
	file, err := a.Exports.Open(ctx, sc, e)
	if err != nil {
		return nil, err
	}
	note := func() error {
		countSamples(ctx, int(e.Done))
		return a.DB.NoteDownload(ctx, sc, e)
	}
	return &seriesOutput{func(c huma.Context) {
		r, w := humago.Unwrap(c)
		h := w.Header()
		h.Set("Content-Type", report.Type(e.Request.Format))
		h.Set("Content-Disposition", `attachment; filename="`+report.SafeName(e.Name)+`"`)
		h.Set("ETag", fmt.Sprintf(`"%s-%d"`, e.ID, e.Attempt)) // a file that is ready never changes
		h.Set(gzhttp.HeaderNoCompression, "1")                 // ranges are of the file as it is
		http.ServeContent(&patientFile{ResponseWriter: w, to: a.patientWriter(w), r: r, note: note, fail: func(err error) { problemOf(a.Log, r, err).write(w) }}, r, "", time.Time{}, file)
	}}, nil
}

// patientFile gives every piece of a file that is sent a deadline of its own, and notes the download before its first byte:
// once, however many pieces it is fetched in, for who fetches a file fetches its beginning.
type patientFile struct {
	http.ResponseWriter
	to     *stallWriter
	r      *http.Request
	note   func() error
	fail   func(error)
	failed error
}

func (p *patientFile) WriteHeader(status int) {
	begins := strings.HasPrefix(p.Header().Get("Content-Range"), "bytes 0-") || p.Header().Get("Content-Range") == "" // or several ranges
	if p.r.Method == http.MethodGet && (status == http.StatusOK || status == http.StatusPartialContent && begins) {
		if p.failed = p.note(); p.failed != nil {
			for _, name := range []string{"Content-Length", "Content-Range", "Content-Disposition", "ETag", "Accept-Ranges"} {
				p.Header().Del(name)
			}
			p.fail(p.failed)
			return
		}
	}
	p.ResponseWriter.WriteHeader(status)
}

func (p *patientFile) Write(b []byte) (int, error) {
	if p.failed != nil {
		return 0, p.failed
	}
	return p.to.Write(b)
}
