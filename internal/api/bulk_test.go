package api_test

import (
	"fmt"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestBulk: rows from JSON and CSV are made all or none; what is wrong is told by row; a dry run makes nothing.
func TestBulk(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token, asCSV := bearer(r.token("owner@a.example")), header("Content-Type", "text/csv; charset=utf-8")
		count := func(list string) int { return len(items[any](t, r.do("GET", r.path(list)+"?limit=1000", nil, token))) }
		var b api.Bulk
		a := r.do("POST", r.path("locations", "bulk"), []map[string]any{{"name": "Bridge", "latitude": 55.9, "attributes": map[string]string{"river": "Skjern"}}, {"name": "Weir", "zone": "UTC"}}, token)
		if a.decode(t, &b); a.status != 201 || b.Rows != 2 || len(b.Items) != 2 || b.Items[1].Row != 2 {
			t.Fatalf("made %d %s", a.status, a.body)
		}
		var l api.Location
		r.do("GET", r.path("locations", b.Items[0].ID), nil, token).decode(t, &l)
		if l.Name != "Bridge" || l.Latitude != 55.9 || l.Attributes["river"] != "Skjern" {
			t.Errorf("made %+v", l)
		}
		site := string(l.ID)
		// A table as a spreadsheet writes it: byte order mark, semicolons, decimal commas, quotes, line breaks within.
		table := "\xef\xbb\xbfname;latitude;longitude;attributes.owner;note\r\n\"Ford; upper\";55,5;-8,25;municipality;\"by\nboat\"\r\nMill;;;;\r\n"
		a = r.do("POST", r.path("locations", "bulk"), table, token, asCSV)
		a.decode(t, &b)
		r.do("GET", r.path("locations", b.Items[0].ID), nil, token).decode(t, &l)
		if l.Name != "Ford; upper" || l.Latitude != 55.5 || l.Longitude != -8.25 || l.Attributes["owner"] != "municipality" || l.Note != "by\nboat" || count("locations") != 4 {
			t.Errorf("made of a table %+v", l)
		}
		a = r.do("POST", r.path("elements", "bulk"), "name,unit,digits,location_id,meaning\nDischarge,m3/s,3,"+site+",preceding_mean\nLevel,m,,,\n", token, asCSV)
		a.decode(t, &b)
		var e api.Element
		r.do("GET", r.path("elements", b.Items[1].ID), nil, token).decode(t, &e)
		if e.Name != "Level" || e.Digits != 2 || e.Meaning != lh.Instantaneous || e.Color == "" {
			t.Errorf("defaults of a table: %+v", e)
		}
		var rows []map[string]any
		for i := range 3 {
			serial := fmt.Sprintf("LH-9%d", i)
			code, err := r.fleet.List(ctx, serial, "lh-sim-1")
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, map[string]any{"serial": serial, "claim_code": code, "name": serial, "location_id": site})
		}
		wrong := rows[1]["claim_code"]
		rows[1]["claim_code"] = "7K2M-9QXD-4HTB-0RNV-6PWE"
		a = r.do("POST", r.path("devices", "bulk"), rows, token)
		if p := a.problem(t); a.status != 400 || len(p.Errors) != 1 || p.Errors[0].Row != 2 || p.Errors[0].Code != lh.Invalid || count("devices") != 0 || strings.Contains(string(a.body), "7K2M") {
			t.Errorf("a wrong code: %d %s", a.status, a.body)
		}
		rows[1]["claim_code"] = wrong
		for _, dry := range []bool{true, false} {
			a = r.do("POST", r.path("devices", "bulk")+fmt.Sprintf("?dry_run=%v", dry), rows, token)
			if a.decode(t, &b); b.DryRun != dry || b.Rows != 3 || dry == (count("devices") == 3) || dry != (len(b.Items) == 0) {
				t.Errorf("dry run %v: %d %s", dry, a.status, a.body)
			}
		}
		if a = r.do("POST", r.path("devices", "bulk"), append(rows[:1:1], rows[0]), token); a.status != 400 {
			t.Errorf("the same serial twice: %d %s", a.status, a.body)
		}
		before := count("locations")
		a = r.do("POST", r.path("locations", "bulk"), []any{map[string]any{"name": "Good"}, map[string]any{"name": ""}, map[string]any{"name": "x", "latitude": 91, "colour": "red"}, 5, map[string]any{"name": "z", "zone": "Mars/Olympus"}}, token)
		p := a.problem(t)
		seen := map[int]string{}
		for _, e := range p.Errors {
			seen[e.Row] += e.Location + " "
			if e.Code == "" || e.Message == "" {
				t.Errorf("an error %+v", e)
			}
		}
		if a.status != 400 || len(seen) != 3 || !strings.Contains(seen[2], "name") || !strings.Contains(seen[3], "latitude") || !strings.Contains(seen[3], "colour") || seen[4] == "" || count("locations") != before {
			t.Errorf("wrong rows: %d %s", a.status, a.body)
		}
		if a = r.do("POST", r.path("locations", "bulk"), []any{map[string]any{"name": "Good"}, map[string]any{"name": "z", "zone": "Mars/Olympus"}}, token); a.status != 400 || a.problem(t).Errors[0].Row != 2 {
			t.Errorf("a zone that is none: %d %s", a.status, a.body)
		}
		// Who sees some locations makes elements there, and is told of the others as if they were not.
		there := r.site(r.owner, "There")
		r.member("limited@a.example", lh.RoleEditor, lh.LocationID(site))
		limited := bearer(r.token("limited@a.example"))
		body := func(id any) []any {
			return []any{map[string]any{"name": "a", "location_id": site}, map[string]any{"name": "b", "location_id": id}}
		}
		foreign, missing := r.do("POST", r.path("elements", "bulk"), body(there.location.ID), limited), r.do("POST", r.path("elements", "bulk"), body(lh.NewLocationID()), limited)
		if foreign.status != 400 || string(foreign.body) != string(missing.body) || foreign.problem(t).Errors[0].Code != lh.NotFound {
			t.Errorf("a location of others: %s, a missing one: %s", foreign.body, missing.body)
		}
		if a := r.do("POST", r.path("elements", "bulk"), body(site), limited); a.status != 201 {
			t.Errorf("own location: %d %s", a.status, a.body)
		}
		if a := r.do("POST", r.path("locations", "bulk"), []any{map[string]any{"name": "a"}}, limited); a.status != 403 {
			t.Errorf("locations by somebody limited: %d", a.status)
		}
	})
}

// TestHostileBulk: tables and arrays made to hurt are refused with a sentence, in bounded time, and make nothing.
func TestHostileBulk(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token, asCSV := bearer(r.token("owner@a.example")), header("Content-Type", "text/csv")
		for name, body := range map[string]string{
			"empty": "", "no head": "\n", "head only": "name\n", "unknown column": "name,secret\na,b\n", "a column twice": "name,name\na,b\n", "many columns": strings.Repeat("name,", 200) + "\nx",
			"too few fields": "name,zone\na\n", "too many fields": "name\na,b\n", "open quote": "name\n\"a", "bare quote": "name\na\"b\n", "one endless field": "name\n\"" + strings.Repeat("x", 1<<20),
			"NUL": "name,latitude\na,\x00\n", "not a number": "name,latitude\na,NaN\n", "infinite": "name,latitude\na,1e999\n", "hex": "name,latitude\na,0x1p-2z\n", "attributes whole": "name,attributes\na,b\n",
			"attribute keys": "name,attributes.a b\nx,y\n", "many rows": "name\n" + strings.Repeat("a\n", 10_001), "formula is text": "name,latitude\n=1+1,x\n", "many wrong": "name,latitude\n" + strings.Repeat("a,91\n", 9000),
		} {
			a := r.do("POST", r.path("locations", "bulk"), body, token, asCSV)
			if a.status != 400 || a.problem(t).Code != lh.Invalid || len(a.body) > 64<<10 {
				t.Errorf("%s: %d %.300s", name, a.status, a.body)
			}
		}
		for name, body := range map[string]string{
			"no array": `{"name":"a"}`, "open": `[{"name":"a"}`, "more": `[{"name":"a"}] x`, "deep": "[" + strings.Repeat(`{"attributes":`, 20000), "not UTF-8": "[{\"name\":\"a\xff\"},5]", "null": "null", "empty": "[]",
			"many": "[" + strings.Repeat(`{},`, 10_000) + `{}]`, "keys": `[{"name":"a","attributes":{"a b":"c"}}]`, "no text": `[{"name":"a","attributes":{"a":5}}]`,
		} {
			a := r.do("POST", r.path("locations", "bulk"), body, token)
			if a.status != 400 || a.problem(t).Code != lh.Invalid {
				t.Errorf("%s: %d %.300s", name, a.status, a.body)
			}
		}
		if a := r.do("POST", r.path("locations", "bulk"), strings.Repeat(" ", 9<<20), token); a.status != 413 {
			t.Errorf("9 MiB: %d %.200s", a.status, a.body)
		}
		for _, kind := range []string{"application/xml", "text/plain", "application/x-www-form-urlencoded", ";;"} {
			if a := r.do("POST", r.path("locations", "bulk"), "name\na\n", token, header("Content-Type", kind)); a.status != 415 {
				t.Errorf("%s: %d %.200s", kind, a.status, a.body)
			}
		}
		if n := len(items[any](t, r.do("GET", r.path("locations"), nil, token))); n != 0 {
			t.Errorf("%d locations were made", n)
		}
	})
}
