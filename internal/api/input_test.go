package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestHostileInput: whatever is sent gets a problem that says what to change, never a 5xx, and changes nothing.
func TestHostileInput(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		s := r.site(r.owner, "Here", "1/level")
		token := bearer(r.token("owner@a.example"))
		series := "/series?elements=" + string(s.elements[0].ID)
		dev, loc, elm := "/devices/"+string(s.device.ID), "/locations/"+string(s.location.ID), "/elements/"+string(s.elements[0].ID)
		long := strings.Repeat("x", 201)
		for _, c := range []struct {
			method, path, body string
			want               int
		}{
			// Unknown parameters, on every list.
			{"GET", "?x=1", "", 400}, {"GET", "/devices?limit=0", "", 400}, {"GET", "/devices?limit=1001", "", 400}, {"GET", "/devices?sort=secret", "", 400}, {"GET", "/devices?cursor=x", "", 400}, {"GET", "/elements?device=x", "", 400}, {"GET", "/latest?Elements=x", "", 400},
			{"GET", "/locations?a", "", 400}, {"GET", "/members?a=b", "", 400}, {"GET", series + "&from=0&to=1&point=3", "", 400}, {"GET", "/live?x=1", "", 400},
			{"POST", "/locations?x=1", `{"name":"a"}`, 400}, {"GET", "/audit?after=-1", "", 400}, {"GET", "/audit?limit=1001", "", 400}, {"GET", "/audit?limit=x", "", 400},
			{"GET", "/audit?after=99999", "", 404},
			// Series.
			{"GET", "/series", "", 400}, {"GET", series, "", 400}, {"GET", series + "&from=0", "", 400}, {"GET", series + "&from=x&to=1", "", 400}, {"GET", series + "&from=1&to=0", "", 400},
			{"GET", series + strings.Repeat(","+string(s.elements[0].ID), 49) + "&from=0&to=1&points=100000", "", 400},
			{"GET", series + "&from=0&to=1&points=-1", "", 400}, {"GET", series + "&from=0&to=1&points=100001", "", 400}, {"GET", series + "&from=0&to=1&format=xml", "", 400},
			{"GET", series + "&from=-62135596800001&to=1", "", 400}, {"GET", series + "&from=0&to=253402300800001", "", 400}, {"GET", series + "&from=0&to=9e18", "", 400},
			{"GET", series + "&from=0&to=99999999999999999999", "", 400}, {"GET", "/series?from=0&to=1&elements=", "", 400}, {"GET", "/series?from=0&to=1&elements=" + strings.Repeat("a,", 51), "", 400},
			{"GET", series + "&from=0&to=1&points=1", "", 400}, {"GET", series + "&from=0&to=1&points=1&format=csv", "", 400}, {"GET", series + "&from=0&to=1&points=1&format=columns", "", 400},
			// Ids that are none, NUL and what is no UTF-8 among them.
			{"GET", "/devices/x", "", 404}, {"GET", "/devices/" + strings.Repeat("x", 41), "", 400}, {"GET", "/devices/%00", "", 404}, {"GET", "/devices/dev_%ff", "", 404}, {"GET", "/locations/%00", "", 404},
			{"GET", "/elements/%00", "", 404}, {"GET", "/elements/%C3%A6%00", "", 404}, {"DELETE", "/members/%00", "", 404}, {"POST", "/devices/%00/revoke", "", 404}, {"DELETE", "/locations/%00", "", 404},
			{"PATCH", "/devices/%00", `{"name":"a"}`, 404}, {"GET", "/series?from=0&to=1&elements=%00", "", 404}, {"GET", "/series?from=0&to=1&elements=%ff", "", 404}, {"GET", "/latest?elements=%00", "", 200},
			{"GET", "/latest?device_id=%00", "", 200}, {"GET", "/elements?device_id=%ff", "", 200}, {"PATCH", dev, `{"location_id":"\u0000"}`, 404},
			{"POST", "/elements", `{"name":"a","location_id":"\u0000"}`, 404}, {"POST", "/invitations", `{"email":"bo@a.example","role":"viewer","locations":["\u0000"]}`, 404},
			{"POST", "/invitations", `{"email":"\u0000","role":"viewer"}`, 400}, {"PATCH", "/members/%00", `{"role":"viewer"}`, 404},
			// Bodies.
			{"POST", "/locations", "", 400}, {"POST", "/locations", "{", 400}, {"POST", "/locations", "null", 400}, {"POST", "/locations", "[]", 400}, {"POST", "/locations", `"name"`, 400},
			{"POST", "/locations", `{"name":"a"} {"name":"b"}`, 400}, {"POST", "/locations", `{"name":"a","nmae":"b"}`, 400}, {"POST", "/locations", `{}`, 400}, {"POST", "/locations", `{"name":""}`, 400},
			{"POST", "/locations", `{"name":5}`, 400}, {"POST", "/locations", `{"name":"` + long + `"}`, 400}, {"POST", "/locations", strings.Repeat("[", 30000), 400},
			{"POST", "/locations", `{"name":"` + strings.Repeat("x", 70000) + `"}`, 413}, {"POST", "/locations", strings.Repeat(" ", 1<<20), 413},
			{"POST", "/locations", `{"name":"a","latitude":91}`, 400}, {"POST", "/locations", `{"name":"a","longitude":1e999}`, 400}, {"POST", "/locations", `{"name":"a","zone":"Mars/Olympus"}`, 400},
			{"POST", "/locations", `{"name":"a","zone":"Local"}`, 400}, {"POST", "/locations", `{"name":"a","zone":"../../etc/passwd"}`, 400}, {"PATCH", "", `{"zone":""}`, 400}, {"PATCH", "", `{"name":""}`, 400},
			{"PATCH", dev, `{"max_offline":9}`, 400}, {"PATCH", dev, `{"max_offline":31536001}`, 400}, {"PATCH", dev, `{"max_offline":1.5}`, 400}, {"PATCH", dev, `{"state":"enrolled"}`, 400}, {"PATCH", dev, `{"serial":"x"}`, 400},
			{"PATCH", elm, `{"color":"red"}`, 400}, {"PATCH", elm, `{"color":"#12345g"}`, 400}, {"PATCH", elm, `{"color":"#112233\nx"}`, 400}, {"PATCH", elm, `{"digits":13}`, 400}, {"PATCH", elm, `{"digits":-1}`, 400},
			{"PATCH", elm, `{"device_id":"x"}`, 404}, {"POST", "/elements", `{"name":"a","meaning":"average"}`, 400}, {"POST", "/elements", `{"name":"a","interval_ms":-1}`, 400},
			{"POST", "/devices", `{"serial":"x","claim_code":"y"}`, 400}, {"POST", "/devices", `{"serial":"x","claim_code":"y","name":"z"}`, 400}, {"POST", "/devices", `{"serial":"` + long + `","claim_code":"y","name":"z"}`, 400},
			{"POST", "/invitations", `{"email":"a","role":"viewer"}`, 400}, {"POST", "/invitations", `{"email":"a@b.example\r\nBcc: c@d.example","role":"viewer"}`, 400},
			{"POST", "/invitations", `{"email":"a@b.example","role":"king"}`, 400}, {"POST", "/invitations", `{"email":"a@b.example","role":"owner","locations":["x"]}`, 400},
			{"POST", "/invitations", `{"email":"a@b.example","role":"viewer","locations":["x"]}`, 404}, {"POST", "/invitations", `{"email":"owner@a.example","role":"viewer"}`, 409},
			{"POST", "/invitations", `{"email":"a@b.example","role":"viewer","locations":["` + strings.Repeat(`x","`, 100) + `x"]}`, 400},
			{"PATCH", "/members/" + string(r.owner.Actor().ID), `{"role":"king"}`, 400}, {"PATCH", "/members/x", `{"role":"viewer"}`, 404}, {"PATCH", "/members/x", `{"role":"viewer","email":"y"}`, 400},
			{"PATCH", "", `{"language":"tlh"}`, 400}, {"PATCH", "", `{"units":{"system":"cgs"}}`, 400}, {"PATCH", "", `{"units":{"quantities":{"x":"m s"}}}`, 400}, {"PATCH", "", `{"units":{"quantities":{"x":5}}}`, 400},
			{"PATCH", "", `{"description":"` + strings.Repeat("x", 4001) + `"}`, 400}, {"PATCH", "", `{"archived":1}`, 400}, {"PATCH", "", `{"destroy_at":0}`, 400}, {"PATCH", "", `{"role":"owner"}`, 400},
			{"POST", "/keep", "", 409}, {"POST", "/invitations/x/resend", "", 404}, {"DELETE", "/invitations/x", "", 404}, {"DELETE", "?now=maybe", "", 400}, {"DELETE", "?now=true&name=x", "", 400},
			{"PATCH", loc, `{"created":5}`, 400}, {"PATCH", loc, `{"latitude":"5"}`, 400},
			// Methods.
			{"PUT", "/devices", "{}", 405}, {"PUT", "", "{}", 405}, {"POST", series + "&from=0&to=1", "{}", 405}, {"PUT", "/members", "{}", 405},
		} {
			a := r.send(c.method, r.path()+c.path, c.body, token)
			if a.status != c.want {
				t.Errorf("%s %.80s %.80s: %d, want %d: %.300s", c.method, c.path, c.body, a.status, c.want, a.body)
				continue
			}
			if c.want >= 400 {
				if p := a.problem(t); c.want == 400 && p.Code != lh.Invalid || c.want == 404 && p.Code != lh.NotFound || len(p.Detail) > 1000 {
					t.Errorf("%s %.80s: %+v", c.method, c.path, p)
				}
			}
		}
		for _, p := range []string{"%00", "prj_%ff", "x", "prj_0123456789abcdef%00"} {
			a := r.send("GET", "/api/v1/projects/"+p, nil, token)
			if a.status != 404 {
				t.Errorf("project %q: %d %s", p, a.status, a.body)
			}
		}
		if a := r.send("POST", r.path("locations"), `name: a`, token, header("Content-Type", "application/yaml")); a.status != 415 && a.status != 400 {
			t.Errorf("a body of another type: %d %s", a.status, a.body)
		}
		if got := items[api.Location](t, r.do("GET", r.path("locations"), nil, token)); len(got) != 1 || got[0].Name != "Here" {
			t.Errorf("refused requests made or changed locations: %+v", got)
		}
		if strings.Contains(r.log.String(), "level=ERROR") {
			t.Errorf("refused requests are logged as the hub's faults: %.1000s", r.log)
		}
	})
}

// TestTextIsKept: any text a person types comes back as it was typed.
func TestTextIsKept(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		for _, name := range []string{"Skjern Å", "桥", "a\u0000b", "<script>alert(1)</script>", `"'\;--`, "\u202e", strings.Repeat("ø", 200), "🌊"} {
			var l api.Location
			r.as("owner@a.example", "POST", r.path("locations"), map[string]any{"name": name}).decode(r.t, &l)
			var back api.Location
			r.as("owner@a.example", "GET", r.path("locations", string(l.ID)), nil).decode(r.t, &back)
			if l.Name != name || back.Name != name || !reflect.DeepEqual(back, l) {
				r.t.Errorf("%q comes back as %q and %q", name, l.Name, back.Name)
			}
		}
	})
}

// TestProblemsKeepSecrets: no refusal repeats a password or a claim code, whatever is wrong beside it.
func TestProblemsKeepSecrets(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		const secret = "hunter2-hunter2"
		token := bearer(r.token("owner@a.example"))
		long := strings.Repeat(secret, 30)
		for _, body := range []string{`{"email":"a@b.example","password":%q,"extra":1}`, `{"password":%q}`, `{"email":5,"password":%q}`, `{"email":"a@b.example","password":[%q]}`,
			`{"email":"a@b.example","password":{"x":%q}}`, `[%q]`, `%q`, `{"email":"a@b.example","password":%q`, `{"email":"a@b.example","password":%q,}`, `{"Password":%q,"email":"a@b.example"}`} {
			for _, s := range []string{secret, long} {
				a := r.send("POST", "/api/v1/session", fmt.Sprintf(body, s))
				if a.status/100 != 4 || bytes.Contains(a.body, []byte(secret)) {
					r.t.Errorf("log-in %s: %d %.300s", body, a.status, a.body)
				}
			}
		}
		for _, body := range []string{`{"serial":"a","claim_code":%q}`, `{"serial":"a","claim_code":%q,"name":"x","extra":1}`, `{"serial":"a","claim_code":[%q],"name":"x"}`, `{"serial":"a","claim_code":%q,"name":"x"}`} {
			for _, s := range []string{secret, long} {
				a := r.send("POST", r.path("devices"), fmt.Sprintf(body, s), token)
				if a.status/100 != 4 || bytes.Contains(a.body, []byte(secret)) {
					r.t.Errorf("claim %s: %d %.300s", body, a.status, a.body)
				}
			}
		}
		if strings.Contains(r.log.String(), secret) {
			r.t.Errorf("a secret is in the log: %s", r.log)
		}
	})
}

// TestFaultsAreHidden: when the database is gone, the answer says so without its inside.
func TestFaultsAreHidden(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		token := bearer(r.token("owner@a.example"))
		r.broken = true
		if err := r.db.Close(); err != nil {
			r.t.Fatal(err)
		}
		for _, path := range []string{"/api/v1/session", r.path("devices")} {
			a := r.send("GET", path, nil, token)
			p := a.problem(r.t)
			if a.status < 500 || strings.Contains(strings.ToLower(p.Detail), "sql") || strings.Contains(p.Detail, "closed") {
				r.t.Errorf("%s: %d %+v", path, a.status, p)
			}
			if a.header.Get("Set-Cookie") != "" {
				r.t.Error("a fault logs people out")
			}
		}
		if a := r.send("POST", "/api/v1/session", map[string]any{"email": "owner@a.example", "password": password}); a.status < 500 {
			r.t.Errorf("log-in without a database: %d", a.status)
		}
		if !strings.Contains(r.log.String(), "closed") {
			r.t.Errorf("the log does not say what happened: %s", r.log)
		}
	})
}

// TestDevicesAndElements walks through what the app does with them.
func TestDevicesAndElements(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		code, err := r.fleet.List(ctx, "LH-77", "lh-sim-1")
		if err != nil {
			t.Fatal(err)
		}
		var l api.Location
		r.as("owner@a.example", "POST", r.path("locations"), map[string]any{"name": "Weir", "latitude": 55.9, "longitude": 8.5, "zone": "Europe/Copenhagen"}).decode(t, &l)
		var d api.Device
		a := r.as("owner@a.example", "POST", r.path("devices"), map[string]any{"serial": "LH-77", "claim_code": strings.ToLower(code), "name": "Weir logger", "location_id": l.ID})
		if a.decode(t, &d); a.status != http.StatusCreated || d.State != lh.DeviceClaimed || d.MaxOffline != 3600 || d.LocationID != l.ID || d.Serial != "LH-77" || d.Online || d.Battery != nil {
			t.Errorf("claimed %d %+v", a.status, d)
		}
		if a := r.as("owner@a.example", "DELETE", r.path("locations", string(l.ID)), nil); a.status != http.StatusConflict {
			t.Errorf("delete a location with a device: %d", a.status)
		}
		s := r.site(r.owner, "Bridge", "1/level", "9/battery_voltage")
		now := lh.MillisOf(r.clock.Now())
		r.upload(s, now-1, 1.5, 12.61)
		r.upload(s, now, 1.6, 12.6)
		for _, got := range items[api.Device](t, r.as("owner@a.example", "GET", r.path("devices"), nil)) {
			if got.ID != s.device.ID {
				continue
			}
			if got.Elements != 2 || got.Battery == nil || got.Battery.Value != 12.6 || got.Battery.Time != now || got.Battery.ElementID != s.elements[1].ID || got.LastSeen < now {
				t.Errorf("listed %+v, battery %+v", got, got.Battery)
			}
		}
		var e api.Element
		r.as("owner@a.example", "PATCH", r.path("elements", string(s.elements[0].ID)), map[string]any{"name": "Pegel", "unit": "cm", "digits": 0}).decode(t, &e)
		if e.Name != "Pegel" || e.Unit != "cm" || e.Digits != 0 || e.Channel != "1/level" || e.DeviceID != s.device.ID || e.LocationID != s.location.ID {
			t.Errorf("changed element %+v", e)
		}
		r.as("owner@a.example", "PATCH", r.path("devices", string(s.device.ID)), map[string]any{"location_id": ""}).decode(t, &d)
		r.as("owner@a.example", "GET", r.path("elements", string(s.elements[0].ID)), nil).decode(t, &e)
		if d.LocationID != "" || e.LocationID != "" || d.Name != s.device.Name {
			t.Errorf("taken from its location: %+v, element %+v", d, e)
		}
		// An element at a location is no reason to lose track of it.
		var lone api.Element
		r.as("owner@a.example", "POST", r.path("elements"), map[string]any{"name": "Discharge", "location_id": s.location.ID}).decode(t, &lone)
		if lone.Digits != 2 || lone.Meaning != lh.Instantaneous || lone.Color == "" {
			t.Errorf("made element %+v", lone)
		}
		if a := r.as("owner@a.example", "DELETE", r.path("locations", string(s.location.ID)), nil); a.status != http.StatusConflict {
			t.Errorf("delete a location with an element: %d", a.status)
		}
		var revoked api.Device
		r.as("owner@a.example", "POST", r.path("devices", string(d.ID), "revoke"), nil).decode(t, &revoked)
		if revoked.State != lh.DeviceRevoked || revoked.Online {
			t.Errorf("revoked %+v", revoked)
		}
		events := items[api.AuditEvent](t, r.as("owner@a.example", "GET", r.path("audit")+"?limit=1000", nil))
		for i, e := range events {
			if e.Number != int64(i+1) || len(e.Hash) != 32 || e.Action == "" || e.ActorID == "" {
				t.Errorf("audit event %+v", e)
			}
			if strings.Contains(e.Detail, code) {
				t.Error("the audit trail holds a claim code")
			}
		}
		if last := events[len(events)-1]; last.Action != "device.revoke" || last.Subject != string(d.ID) || last.ActorID != r.owner.Actor().ID {
			t.Errorf("the last event is %+v", last)
		}
		if page := items[api.AuditEvent](t, r.as("owner@a.example", "GET", r.path("audit")+"?after=2&limit=2", nil)); len(page) != 2 || page[0].Number != 3 {
			t.Errorf("a page of the audit trail: %+v", page)
		}
	})
}
