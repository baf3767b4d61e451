package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var (
	randomIDs  = regexp.MustCompile(`\b([a-z]{3})_[0-9a-z]{16}\b`)
	momentsNow = regexp.MustCompile(`"(last_login|email_verified_at|time)":(\d{10,}\.\d{1,3})\b`)
	tokensNow  = regexp.MustCompile(`"(access_token|token)":"lhs_[0-9A-Za-z_-]{43}"`)
	expiryNow  = regexp.MustCompile(`"expires":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
)

// still takes what differs each time out of an answer: ids get a number each, moments of now a word. What has not the
// very form it must have stays, and then differs from the golden file.
func still(b []byte, names map[string]string) []byte {
	b = randomIDs.ReplaceAllFunc(b, func(id []byte) []byte {
		if names[string(id)] == "" {
			names[string(id)] = fmt.Sprintf("%s_%d", id[:3], len(names)+1)
		}
		return []byte(names[string(id)])
	})
	b = momentsNow.ReplaceAllFunc(b, func(m []byte) []byte {
		if bytes.Contains(m, []byte("172096")) { // a sample's
			return m
		}
		return momentsNow.ReplaceAll(m, []byte(`"$1":"a float"`))
	})
	b = tokensNow.ReplaceAll(b, []byte(`"$1":"a token"`))
	return expiryNow.ReplaceAll(b, []byte(`"expires":"a moment"`))
}

// TestConsibioShapes holds every answer, byte for byte, to a file that was written from their published shapes: which
// keys there are, what is a whole number, what has a point, what is null.
func TestConsibioShapes(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		names := map[string]string{string(r.owner.Project()): "prj_0", r.owner.Actor().ID: "usr_0"}
		s := r.consibioSite(r.owner, "Ford")
		names[string(s.device.ID)], names[string(s.location.ID)] = "dev_0", "loc_0"
		for i, e := range s.elements {
			names[string(e.ID)] = fmt.Sprintf("elm_%d", i)
			e.Unit = []string{"Cel", "m", "mm"}[i]
			if err := r.db.ChangeElement(ctx, r.owner, e); err != nil {
				r.t.Fatal(err)
			}
		}
		var out bytes.Buffer
		for _, route := range api.ConsibioRoutes() {
			a := r.consibio(route.ID, r.owner.Project(), s, r.token("owner@a.example"))
			if ct := a.header.Get("Content-Type"); a.status != 200 || ct != "application/json" {
				r.t.Errorf("%s: %d %q", route.ID, a.status, ct)
			}
			var v any
			if err := json.Unmarshal(a.body, &v); err != nil {
				r.t.Errorf("%s: %v", route.ID, err)
			}
			body := still(a.body, names)
			// Objects keyed by random ids have no order of their own.
			if d := json.NewDecoder(bytes.NewReader(body)); strings.Contains(route.ID, "elements") {
				var m map[string]json.RawMessage
				if err := d.Decode(&m); err != nil {
					r.t.Fatal(err)
				}
				var things map[string]json.RawMessage
				if err := json.Unmarshal(m["payload"], &things); err != nil {
					r.t.Fatal(err)
				}
				b, err := json.Marshal(map[string]any{"payload": things, "status": m["status"]})
				if err != nil {
					r.t.Fatal(err)
				}
				body = b
			}
			fmt.Fprintf(&out, "%s %s\n%s\n\n", route.Method, still([]byte(route.Path), names), body)
		}
		golden(r.t, "consibio.golden", out.Bytes())
	})
}

// TestConsibioNoValueYet: an element that never measured has zeros, not null: a client in C# reads a plain float.
func TestConsibioNoValueYet(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "Ford", "1/temperature")
		token := r.token("owner@a.example")
		a := r.consibio("consibio-v2-elements", r.owner.Project(), s, token)
		if !strings.Contains(string(a.body), `"telemetry":{"cur_val":{"val":0.0,"time":0.0},"last_val":{"val":0.0,"time":0.0}}`) {
			r.t.Errorf("%s", a.body)
		}
		if a := r.consibio("consibio-v1-value", r.owner.Project(), s, token); string(a.body) != noData {
			r.t.Errorf("a value that never was: %s", a.body)
		}
		a = r.do("GET", "/consibio/v2/projects/"+string(r.owner.Project())+"/datalog?from_time=1720961617&to_time=1721048017&elements="+string(s.elements[0].ID), nil, bearer(token))
		if string(a.body) != `{"payload":{},"status":"ok"}` {
			r.t.Errorf("a datalog without data: %s", a.body)
		}
	})
}

// datalog asks for a datalog with a query as it stands.
func (r *rig) datalog(query string) answer {
	r.t.Helper()
	return r.raw(crlf("GET /consibio/v2/projects/"+string(r.owner.Project())+"/datalog?"+query+" HTTP/1.1", "Host: example.com", "Accept: */*",
		"Connection: close", "Authorization: Bearer "+r.token("owner@a.example")))
}

type datapoint struct{ T, V float64 }

func datapoints(r *rig, a answer) map[string][]datapoint {
	r.t.Helper()
	var out struct{ Payload map[string][]datapoint }
	if a.status != 200 {
		r.t.Fatalf("%d %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &out); err != nil {
		r.t.Fatalf("%v: %.300s", err, a.body)
	}
	return out.Payload
}

// TestConsibioDatalog: the traps of the datalog.
func TestConsibioDatalog(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.consibioSite(r.owner, "Ford")
		a, b, empty := string(s.elements[0].ID), string(s.elements[1].ID), string(s.elements[2].ID)
		span := "&from_time=1720961617.4103&to_time=1721048017.4103"
		good := []datapoint{{1720961640.351, 20}, {1720961700.351, 21}, {1720961820.351, 23}, {1720961880.351, 24}} // without the bad one
		for query, want := range map[string][]string{
			"elements=" + a + ";" + b + ";" + empty + span:                         {a, b}, // a raw ;
			"elements=" + a + "%3B" + b + span:                                     {a, b}, // one that a library escaped
			"elements=" + a + "%3b" + b + ";" + span:                               {a, b},
			"elements=;" + a + ";;" + a + span:                                     {a}, // twice is once
			span[1:] + "&elements=" + a + "&unknown=1;2&&=&x":                      {a},
			"elements=" + a + "&from_time=1.72e+09&to_time=1.722e9":                {a}, // R; + decodes to a space
			"elements=" + a + "&from_time=1.72e%2B09&to_time=1.722E9":              {a},
			"elements=" + a + "&from_time=1720000000&to_time=1.722e+09&interval=0": {a},
			"elements=" + a + ";" + string(lh.NewElementID()) + span:               {a},
		} {
			got := datapoints(r, r.datalog(query))
			keys := []string{}
			for k := range got {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			slices.Sort(want)
			if !slices.Equal(keys, want) {
				r.t.Errorf("%s: elements %v, want %v", query, keys, want)
			}
			if !slices.Equal(got[a], good) {
				r.t.Errorf("%s: %v", query, got[a])
			}
			if slices.Contains(want, b) && (len(got[b]) != 5 || got[b][1] != datapoint{1720961700.351, 1.0/3 + 100}) { // corrected
				r.t.Errorf("%s: %v", query, got[b])
			}
		}
		// The range: from is included, to is not, to the millisecond.
		if got := datapoints(r, r.datalog("elements="+a+"&from_time=1720961640.351&to_time=1720961700.351"))[a]; !slices.Equal(got, good[:1]) {
			r.t.Errorf("a range from sample to sample: %v", got)
		}
		if got := r.datalog("elements=" + a + "&from_time=0&to_time=100"); string(got.body) != `{"payload":{},"status":"ok"}` {
			r.t.Errorf("a range without data: %s", got.body)
		}
		long := strings.Repeat(string(lh.NewElementID())+";", 24)
		if got := datapoints(r, r.datalog("elements="+long+a+span)); len(got) != 1 {
			r.t.Errorf("25 elements: %v", got)
		}
		many := a
		for range 25 {
			many += ";" + string(lh.NewElementID())
		}
		for query, want := range map[string]string{
			"elements=" + many + span:                                                  "at most 25",
			"from_time=1720961617.4103&to_time=1721048017.4103":                        "elements is missing",
			"elements=;;" + span:                                                       "elements is missing",
			"elements=%ZZ" + span:                                                      "cannot be read",
			"elements=" + a + "&to_time=1721048017":                                    "from_time is missing",
			"elements=" + a + "&from_time=1721048017":                                  "to_time is missing",
			"elements=" + a + "&from_time=yesterday&to_time=1721048017":                "from_time",
			"elements=" + a + "&from_time=NaN&to_time=1721048017":                      "from_time",
			"elements=" + a + "&from_time=-Inf&to_time=1721048017":                     "from_time",
			"elements=" + a + "&from_time=0&to_time=1e300":                             "to_time",
			"elements=" + a + "&from_time=1721048017&to_time=1721048016":               "after",
			"elements=" + a + "&from_time=1700000000&to_time=1715552001":               "180 days",
			"elements=" + a + span + "&interval=-1":                                    "interval",
			"elements=" + a + span + "&interval=often":                                 "interval",
			"elements=" + string(lh.NewElementID()) + ";" + "x" + span:                 "No data found",
			"elements=%00;%FF;" + strings.Repeat("a", 4000) + span:                     "No data found",
			"elements=" + a + "&from_time=1700000000&to_time=1700000000.0&from_time=9": "",
		} {
			a := r.datalog(query)
			if want == "" {
				if string(a.body) != `{"payload":{},"status":"ok"}` {
					r.t.Errorf("%s: %s", query, a.body)
				}
				continue
			}
			if got := failure(r, a); !strings.Contains(got, want) {
				r.t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		if a := r.datalog("elements=" + a + "&from_time=1700000000&to_time=1715552000"); a.status != 200 || !strings.Contains(string(a.body), `"ok"`) {
			r.t.Errorf("180 days to the second: %d %s", a.status, a.body)
		}
	})
}

// TestConsibioIntervals: one point an interval, at its beginning, of what is good in it; what it is follows the element.
func TestConsibioIntervals(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		channels := []string{"1/temperature", "2/mean", "2/rain", "2/least", "2/most", "3/total", "4/wind_direction"}
		s := r.site(r.owner, "Ford", channels...)
		meanings := []lh.Meaning{lh.Instantaneous, lh.PrecedingMean, lh.PrecedingSum, lh.PrecedingMin, lh.PrecedingMax, lh.Counter, lh.Instantaneous}
		for i := range s.elements { // as the device says
			s.elements[i].Meaning = meanings[i]
		}
		bound, err := r.db.BindElements(ctx, s.own, s.device.ID, s.elements)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, e := range bound {
			if e.Quantity == "wind_direction" {
				e.Unit = "deg"
				if err := r.db.ChangeElement(ctx, r.owner, e); err != nil {
					r.t.Fatal(err)
				}
			}
		}
		// Five samples, 20 s apart, the first at the beginning of a minute; the last bad.
		const start lh.Millis = 1720961640_000
		values := [][]float64{{1, 2, 6, 4, 100}, {1, 2, 6, 4, 100}, {1, 2, 6, 4, 100}, {5, 2, 6, 4, -9}, {5, 2, 6, 4, 100}, {10, 20, 5, 8, 100}, {350, 10, 0, 90, 180}}
		for k := range 5 {
			rec := wire.Record{Time: start + lh.Millis(k)*20_000}
			for i := range channels {
				flag := lh.FlagGood
				if k == 4 {
					flag = lh.FlagBad
				}
				rec.Values = append(rec.Values, wire.Value{Channel: uint16(i), Flag: flag, Value: values[i][k]})
			}
			r.uploadBatch(s, wire.Batch{Channels: channels, Records: []wire.Record{rec}})
		}
		t0, t1, tb := 1720961640.0, 1720961700.0, 1720961580.0
		want := [][]datapoint{
			{{t0, 3}, {t1, 4}}, // 1 2 6 | 4; the one at the end is bad
			{{tb, 1}, {t0, 4}}, // a time that ends an interval is of the minute before: 1 | 2 6 4
			{{tb, 1}, {t0, 12}},
			{{tb, 5}, {t0, 2}},
			{{tb, 5}, {t0, 6}},
			{{t0, 5}, {t1, 8}},  // a counter's newest
			{{t0, 0}, {t1, 90}}, // 350° and 10° and 0° are 0°, never 120°
		}
		ids := []string{}
		for _, e := range s.elements {
			ids = append(ids, string(e.ID))
		}
		got := datapoints(r, r.datalog("elements="+strings.Join(ids, ";")+"&from_time=1720961600&to_time=1720962000&interval=60"))
		for i, id := range ids {
			g := got[id]
			if len(g) == 2 && channels[i] == "4/wind_direction" && (g[0].V < 1e-9 || g[0].V > 360-1e-9) {
				g[0].V = 0
			}
			if !slices.EqualFunc(g, want[i], func(a, b datapoint) bool { return a.T == b.T && a.V-b.V < 1e-9 && b.V-a.V < 1e-9 }) {
				r.t.Errorf("%s: %v, want %v", channels[i], g, want[i])
			}
		}
		// v1, the same.
		a := r.do("GET", "/consibio/rest/get_datalog_for_element?project_id="+string(r.owner.Project())+"&element_id="+ids[0]+
			"&from_time=1720961600&to_time=1720962000&interval=60.0", nil, bearer(r.token("owner@a.example")))
		if string(a.body) != `{"payload":[{"time":1720961640.0,"val":3.0},{"time":1720961700.0,"val":4.0}],"status":"ok"}` {
			r.t.Errorf("v1: %s", a.body)
		}
	})
}

// TestConsibioTokens: what a token is good for, and how long.
func TestConsibioTokens(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		post := func(kind, body string) answer {
			return r.do("POST", "/consibio/v2/oauth/token", body, header("Content-Type", kind))
		}
		form := "application/x-www-form-urlencoded"
		wrong := `{"error":"unauthorized","error_description":"Invalid credentials."}`
		for body, want := range map[string]int{
			"grant_type=password&username=owner%40a.example&password=wrong&client_id=x": 403,
			"grant_type=password&username=nobody%40a.example&password=wrong+password":   403,
			"grant_type=password&username=&password=":                                   403,
			"grant_type=password": 403,
			"grant_type=password&username=" + strings.Repeat("a", 300) + "&password=x": 403,
			"grant_type=client_credentials&client_id=x&client_secret=y":                400,
			"": 400,
		} {
			a := post(form, body)
			if a.status != want || want == 403 && string(a.body) != wrong || a.header.Get("Content-Type") != "application/json" {
				r.t.Errorf("%.60s: %d %s", body, a.status, a.body)
			}
		}
		if a := post("application/json", consibioCredentials); a.status != 400 {
			r.t.Errorf("a token request in JSON: %d %s", a.status, a.body)
		}
		// In the query, where logs would keep it, a password is nothing.
		if a := r.do("POST", "/consibio/v2/oauth/token?grant_type=password&username=owner@a.example&password=correct+horse+battery", "x=1", header("Content-Type", form)); a.status != 400 {
			r.t.Errorf("a password in the query: %d %s", a.status, a.body)
		}
		good := "grant_type=password&username=OWNER@a.example&password=correct horse battery&client_id=R_PACKAGE_CLIENT"
		a := post(form+"; charset=utf-8", good)
		var token struct {
			AccessToken string    `json:"access_token"`
			ExpiresIn   int       `json:"expires_in"`
			UserID      lh.UserID `json:"user_id"`
			Email       string
		}
		a.decode(r.t, &token)
		if token.ExpiresIn != 3600 || token.Email != "owner@a.example" || string(token.UserID) != r.owner.Actor().ID {
			r.t.Errorf("%s", a.body)
		}
		me := func() answer { return r.do("GET", "/consibio/v2/users/me", nil, bearer(token.AccessToken)) }
		if a := me(); len(payload(r, a)) != 1 || payload(r, a)[string(token.UserID)] == nil {
			r.t.Errorf("me: %s", a.body)
		}
		if a := r.do("GET", "/consibio/rest/list_projects", nil, header("Authorization", "bearer  "+token.AccessToken)); a.status != 200 {
			r.t.Errorf("the token in v1: %d", a.status)
		}
		r.clock.Move(59 * time.Minute)
		if a := me(); a.status != 200 {
			r.t.Errorf("after 59 minutes: %d", a.status)
		}
		r.clock.Move(2 * time.Minute)
		if a := me(); a.status != 401 || string(a.body) != "Unauthenticated" || a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
			r.t.Errorf("after 61 minutes: %d %v %s", a.status, a.header, a.body)
		}
		// Log-in by JSON, whatever it is called; wrong is an error in their words.
		for _, path := range []string{"/consibio/v2/login", "/consibio/rest/login"} {
			for _, kind := range []string{"text/plain", "text/plain; charset=utf-8", "application/json", form} {
				p := payload(r, r.do("POST", path, consibioCredentials, header("Content-Type", kind)))
				if len(p) != 4 || p["email"] != "owner@a.example" || p["user_id"] != r.owner.Actor().ID {
					r.t.Errorf("%s as %s: %v", path, kind, p)
				}
				if _, err := time.Parse(time.RFC3339, p["expires"].(string)); err != nil {
					r.t.Error(err)
				}
			}
			for _, body := range []string{`{"username":"owner@a.example","password":"wrong"}`, `{"username":"nobody@a.example","password":"wrong"}`, `{}`} {
				if got := failure(r, r.do("POST", path, body)); got != "Invalid credentials." {
					r.t.Errorf("%s %s: %q", path, body, got)
				}
			}
			for _, body := range []string{``, `[]`, `"x"`, `{"username":1}`, `{`} {
				if got := failure(r, r.do("POST", path, body)); !strings.Contains(got, "JSON") {
					r.t.Errorf("%s %s: %q", path, body, got)
				}
			}
		}
	})
}

// TestConsibioTriesAreBounded: guessing a password here is no faster than anywhere else.
func TestConsibioTriesAreBounded(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		var last answer
		for range 40 {
			last = r.do("POST", "/consibio/v2/oauth/token", "grant_type=password&username=owner%40a.example&password=wrong+guess", header("Content-Type", "application/x-www-form-urlencoded"))
			if last.status == 429 {
				break
			}
		}
		if last.status != 429 || last.header.Get("Retry-After") == "" || !strings.Contains(string(last.body), "Too many") {
			r.t.Fatalf("after many tries: %d %s", last.status, last.body)
		}
		// The right password does not help now, and the other doors count the same tries.
		for _, a := range []answer{
			r.do("POST", "/consibio/v2/login", consibioCredentials), r.do("POST", "/consibio/rest/login", consibioCredentials),
			r.do("POST", "/api/v1/session", map[string]string{"email": "owner@a.example", "password": password}),
		} {
			if a.status != 429 {
				r.t.Errorf("another door: %d %s", a.status, a.body)
			}
		}
	})
}

// TestConsibioHost: on a host name of its own the facade stands at the root, and nothing else does.
func TestConsibioHost(t *testing.T) {
	each(t, rigOptions{consibioHost: "api.example.org"}, func(r *rig) {
		at := func(host, path string) answer {
			return r.raw(crlf("GET "+path+" HTTP/1.1", "Host: "+host, "Connection: close", "Authorization: Bearer "+r.token("owner@a.example")))
		}
		for _, host := range []string{"api.example.org", "API.example.org:8443", "api.example.org."} {
			for path, want := range map[string]int{"/test": 200, "/users/me": 200, "/projects": 200, "/rest/list_projects": 200, "/consibio/v2/test": 200,
				"/": 404, "/index.html": 404, "/api/v1/projects": 404, "/api/docs": 404, "/rest": 404} {
				if a := at(host, path); a.status != want {
					r.t.Errorf("%s%s: %d", host, path, a.status)
				}
			}
		}
		for _, host := range []string{"example.org", "x.api.example.org", "api.example.org.evil.example"} {
			if a := at(host, "/users/me"); a.status == 200 && strings.Contains(string(a.body), "payload") {
				r.t.Errorf("%s is taken for the facade's host", host)
			}
			if a := at(host, "/api/v1/projects"); a.status != 200 {
				r.t.Errorf("%s: the API: %d", host, a.status)
			}
		}
	})
}
