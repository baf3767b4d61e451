package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// fill stores n samples of a site's first channel, a second apart.
func (r *rig) fill(s site, at lh.Millis, n int) {
	r.t.Helper()
	for from := 0; from < n; from += 4000 {
		b := wire.Batch{Channels: []string{s.elements[0].Channel}}
		for i := from; i < min(n, from+4000); i++ {
			b.Records = append(b.Records, wire.Record{Time: at + lh.Millis(i)*1000, Values: []wire.Value{{Flag: lh.FlagGood, Value: float64(i) / 8}}})
		}
		r.uploadBatch(s, b)
	}
}

// follow asks for an export and waits until it is ready, by the API alone.
func (r *rig) follow(who string, body map[string]any) api.Export {
	r.t.Helper()
	a := r.as(who, "POST", r.path("exports"), body)
	var made api.Export
	a.decode(r.t, &made)
	if a.status != http.StatusAccepted || a.header.Get("Location") != r.path("exports", string(made.ID)) || made.Progress == nil || made.File != "" {
		r.t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	for range 2000 {
		var e api.Export
		r.as(who, "GET", a.header.Get("Location"), nil).decode(r.t, &e)
		if e.State == lh.ExportReady {
			return e
		}
		if e.State == lh.ExportFailed {
			r.t.Fatalf("it failed: %s", e.Reason)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("it is never ready")
	return made
}

// TestExports: from the question to the file, as a script would.
func TestExports(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		s := r.site(r.owner, "Ford", "1/level", "1/temperature")
		const at lh.Millis = 1720000000_000
		r.fill(s, at, 30_000)
		viewer := r.member("viewer@a.example", lh.RoleViewer)
		r.member("other@a.example", lh.RoleViewer)
		e := r.follow("viewer@a.example", map[string]any{"elements": []any{s.elements[0].ID}, "from": at, "to": at + 30_000_000, "zone": "UTC"})
		if e.Samples != 30_000 || e.Expected != 30_000 || *e.Progress != 1 || e.ByID != string(viewer) || e.Expires-e.Finished != 72*3600_000 || e.Request.Layout != lh.ExportWide {
			t.Errorf("%+v", e)
		}
		token := bearer(r.token("viewer@a.example"))
		a := r.do("GET", e.File, nil, token, header("Accept-Encoding", "gzip"))
		h := a.header
		if a.status != 200 || h.Get("Content-Type") != "text/csv; charset=utf-8" || h.Get("Content-Disposition") != `attachment; filename="Skjern-2024-07-03-2024-07-03.csv"` ||
			h.Get("Accept-Ranges") != "bytes" || h.Get("ETag") == "" || h.Get("Content-Encoding") != "" || h.Get("Cache-Control") != "no-store" || h.Get("Content-Length") != fmt.Sprint(e.Size) {
			t.Errorf("%d %v", a.status, h)
		}
		for _, enc := range []string{"gzip", "identity"} {
			if a := r.do("GET", e.File, nil, token, header("Accept-Encoding", enc)); a.header.Get("No-Gzip-Compression") != "" || a.header.Get("Content-Encoding") != "" {
				t.Errorf("headers of our own leave the hub: %v", a.header)
			}
		}
		whole := a.body
		if int64(len(whole)) != e.Size || bytes.Count(whole, []byte("\r\n")) != 30_001 || !bytes.HasSuffix(whole, []byte("2024-07-03T18:06:39.000Z,3749.875\r\n")) {
			t.Errorf("%d bytes, the end is %q", len(whole), whole[len(whole)-60:])
		}
		etag := h.Get("ETag")
		// In pieces, as what goes on after a line broke off.
		for _, c := range []struct {
			ranges, ifRange string
			status          int
			from, to        int64
		}{
			{"bytes=0-99", "", 206, 0, 100}, {"bytes=100-", "", 206, 100, e.Size}, {"bytes=-10", "", 206, e.Size - 10, e.Size},
			{"bytes=262140-262150", "", 206, 262140, 262151}, {"bytes=5-", etag, 206, 5, e.Size}, {"bytes=5-", `"other"`, 200, 0, e.Size},
			{fmt.Sprintf("bytes=%d-", e.Size), "", 416, 0, 0}, {"bytes=9-5", "", 416, 0, 0}, {"lines=1-2", "", 416, 0, 0},
		} {
			opts := []option{token, header("Range", c.ranges)}
			if c.ifRange != "" {
				opts = append(opts, header("If-Range", c.ifRange))
			}
			a := r.do("GET", e.File, nil, opts...)
			if a.status != c.status || c.status < 300 && !bytes.Equal(a.body, whole[c.from:c.to]) {
				t.Errorf("%s (%s): %d, %d bytes", c.ranges, c.ifRange, a.status, len(a.body))
			}
		}
		if a := r.do("GET", e.File, nil, token, header("If-None-Match", etag)); a.status != 304 || len(a.body) != 0 {
			t.Errorf("what is there already: %d", a.status)
		}
		if a := r.do("HEAD", e.File, nil, token); a.status != 200 || a.header.Get("Content-Length") != fmt.Sprint(e.Size) {
			t.Errorf("HEAD: %d %v", a.status, a.header)
		}
		// Lists, and who removes what.
		if got := items[api.Export](t, r.as("other@a.example", "GET", r.path("exports")+"?state=ready", nil)); len(got) != 1 || got[0].ID != e.ID {
			t.Errorf("%v", got)
		}
		if got := items[api.Export](t, r.as("other@a.example", "GET", r.path("exports")+"?state=failed", nil)); len(got) != 0 {
			t.Errorf("%v", got)
		}
		if a := r.as("other@a.example", "DELETE", r.path("exports", string(e.ID)), nil); a.status != 403 {
			t.Errorf("somebody else removes it: %d", a.status)
		}
		if a := r.as("viewer@a.example", "DELETE", r.path("exports", string(e.ID)), nil); a.status != 204 {
			t.Errorf("its asker removes it: %d %s", a.status, a.body)
		}
		for _, p := range []string{"", "/file"} {
			if a := r.as("viewer@a.example", "GET", r.path("exports", string(e.ID))+p, nil); a.status != 404 {
				t.Errorf("after that: %d", a.status)
			}
		}
		// The audit trail knows who asked, who was sent it (once, however many pieces), and who removed it.
		events := map[string]int{}
		for _, ev := range items[api.AuditEvent](t, r.as("owner@a.example", "GET", r.path("audit")+"?limit=1000", nil)) {
			if ev.Subject == string(e.ID) && ev.ActorID == string(viewer) {
				events[ev.Action]++
			}
		}
		if events["export.create"] != 1 || events["export.remove"] != 1 || events["export.download"] != 5 { // whole, twice more, its first bytes, and whole after a change
			t.Errorf("audited: %v", events)
		}
	})
}

// TestExportInvalid: wrong questions are told so at once.
func TestExportInvalid(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		r.site(r.owner, "Ford", "1/level")
		for name, c := range map[string]struct {
			body map[string]any
			want int
		}{
			"no range": {map[string]any{}, 400}, "format": {map[string]any{"from": 0, "to": 1, "format": "pdf"}, 400}, "zone": {map[string]any{"from": 0, "to": 1, "zone": "X"}, 400},
			"unknown field": {map[string]any{"from": 0, "to": 1, "form": "csv"}, 400}, "unknown element": {map[string]any{"from": 0, "to": 1, "elements": []any{lh.NewElementID()}}, 404},
			"unknown location": {map[string]any{"from": 0, "to": 1, "location_id": lh.NewLocationID()}, 404}, "project and more": {map[string]any{"kind": "project", "layout": "wide"}, 400},
		} {
			if a := r.as("owner@a.example", "POST", r.path("exports"), c.body); a.status != c.want {
				r.t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		// A whole project takes an administrator; a file takes patience.
		r.member("editor@a.example", lh.RoleEditor)
		if a := r.as("editor@a.example", "POST", r.path("exports"), map[string]any{"kind": "project"}); a.status != 403 {
			r.t.Errorf("an editor exports the project: %d %s", a.status, a.body)
		}
		e := r.follow("owner@a.example", map[string]any{"kind": "project"})
		a := r.as("owner@a.example", "GET", e.File, nil)
		if a.status != 200 || !bytes.HasPrefix(a.body, []byte("PK")) || a.header.Get("Content-Disposition") != `attachment; filename="Skjern.zip"` || a.header.Get("Content-Type") != "application/zip" {
			r.t.Errorf("%d %v", a.status, a.header)
		}
		for _, p := range []string{"", "/file"} {
			if a := r.as("editor@a.example", "GET", r.path("exports", string(e.ID))+p, nil); a.status != 404 {
				r.t.Errorf("an editor sees the whole project's: %d", a.status)
			}
		}
	})
}

// TestForeignExports: another project's exports, and another location's, read as what is not there.
func TestForeignExports(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		theirs := r.stranger()
		foreign := exportCall(r, theirs).path["export"]
		here, there := r.site(r.owner, "Here", "1/level"), r.site(r.owner, "There", "1/level")
		r.member("limited@a.example", lh.RoleEditor, here.location.ID)
		other := r.follow("owner@a.example", map[string]any{"from": 0, "to": 1, "elements": []any{there.elements[0].ID}})
		mine := r.follow("limited@a.example", map[string]any{"from": 0, "to": 1})
		if len(mine.Request.Elements) != 1 || mine.Request.Elements[0] != here.elements[0].ID {
			r.t.Errorf("a limited member's export of everything holds %v", mine.Request.Elements)
		}
		for _, c := range []struct{ method, more string }{{"GET", ""}, {"GET", "/file"}, {"DELETE", ""}} {
			for who, ids := range map[string][]string{"owner@a.example": {foreign}, "limited@a.example": {foreign, string(other.ID)}} {
				want := r.as(who, c.method, r.path("exports", string(lh.NewExportID()))+c.more, nil)
				for _, id := range ids {
					if a := r.as(who, c.method, r.path("exports", id)+c.more, nil); a.status != 404 || string(a.body) != string(want.body) {
						r.t.Errorf("%s as %s of %s: %d %s, missing: %s", c.method+c.more, who, id, a.status, a.body, want.body)
					}
				}
			}
		}
		a := r.as("limited@a.example", "GET", r.path("exports"), nil)
		if got := items[api.Export](r.t, a); len(got) != 1 || strings.Contains(string(a.body), string(there.elements[0].ID)) {
			r.t.Errorf("%s", a.body)
		}
		if _, err := url.Parse(mine.File); err != nil {
			r.t.Error(err)
		}
	})
}

// TestFrozenProjectsAreExported: what is archived or about to be destroyed can still be taken out.
func TestFrozenProjectsAreExported(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		r.site(r.owner, "Ford", "1/level")
		if a := r.as("owner@a.example", "DELETE", r.path(), map[string]any{"name": "Skjern Å"}); a.status/100 != 2 {
			r.t.Fatalf("delete: %d %s", a.status, a.body)
		}
		e := r.follow("owner@a.example", map[string]any{"kind": "project"})
		if a := r.as("owner@a.example", "GET", e.File, nil); a.status != 200 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		if a := r.as("owner@a.example", "DELETE", r.path("exports", string(e.ID)), nil); a.status != 204 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
	})
}
