package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// values reads all there is of an element.
func (r *rig) values(id lh.ElementID) map[lh.Millis]float64 {
	r.t.Helper()
	var s api.Series
	r.as("owner@a.example", "GET", r.path("series")+"?from=0&to=4000000000000&points=0&elements="+string(id), nil).decode(r.t, &s)
	out := map[lh.Millis]float64{}
	for i, t := range s.Series[0].Times {
		out[t] = s.Series[0].Values[i]
	}
	return out
}

func TestIntegrationsOverTheAPI(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		owner := "owner@a.example"
		var e api.Element
		r.as(owner, "POST", r.path("elements"), map[string]any{"name": "Rain", "unit": "mm"}).decode(r.t, &e)
		s := r.site(r.owner, "Weir", "1/level")
		create := func(elements ...any) answer {
			return r.as(owner, "POST", r.path("integrations"), map[string]any{"name": "Weather", "elements": elements})
		}
		element := func(id any, more ...any) map[string]any {
			m := map[string]any{"element_id": id}
			for i := 0; i < len(more); i += 2 {
				m[more[i].(string)] = more[i+1]
			}
			return m
		}
		for name, c := range map[string]struct {
			elements []any
			status   int
		}{
			"fed by a device":   {[]any{element(s.elements[0].ID)}, 400},
			"not there":         {[]any{element(lh.NewElementID())}, 404},
			"twice":             {[]any{element(e.ID), element(e.ID)}, 400},
			"half a name":       {[]any{element(e.ID, "measurement", "rain")}, 400},
			"tags of nothing":   {[]any{element(e.ID, "tags", map[string]string{"a": "b"})}, 400},
			"a name like an id": {[]any{element(e.ID, "name", string(lh.NewElementID()))}, 400},
			"good":              {[]any{element(e.ID, "name", "rain", "measurement", "rain", "field", "mm")}, 201},
		} {
			if a := create(c.elements...); a.status != c.status {
				r.t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		is := items[api.Integration](r.t, r.as(owner, "GET", r.path("integrations"), nil))
		if len(is) != 1 || is[0].Elements[0].ElementID != e.ID || is[0].Elements[0].Name != "rain" || !is[0].Enabled {
			r.t.Fatalf("%+v", is)
		}
		path := r.path("integrations", string(is[0].ID))
		var key api.NewKey
		r.as(owner, "POST", path+"/keys", map[string]any{"name": "their server"}).decode(r.t, &key)
		if !strings.HasPrefix(key.Secret, "lhi_") {
			r.t.Errorf("%+v", key)
		}
		send := func(secret string) answer {
			return r.do("POST", "/api/v1/integrations/"+string(is[0].ID)+"/samples",
				map[string]any{"samples": []any{map[string]any{"element": "rain", "time": 1_700_000_000_000, "value": 2.5}}}, bearer(secret))
		}
		var sent api.Sent
		send(key.Secret).decode(r.t, &sent)
		if sent != (api.Sent{Stored: 1}) || r.values(e.ID)[1_700_000_000_000] != 2.5 {
			r.t.Errorf("%+v, %v", sent, r.values(e.ID))
		}
		// Its key does nothing else, and another's does not send in its name.
		for _, p := range []string{"elements", "latest", "series?from=0&to=1&elements=" + string(e.ID), "live"} {
			if a := r.do("GET", r.path()+"/"+p, nil, bearer(key.Secret)); a.status != 403 {
				r.t.Errorf("an integration reads %s: %d", p, a.status)
			}
		}
		if a := send(r.integration(r.owner).key); a.status != 404 {
			r.t.Errorf("with the key of another: %d", a.status)
		}
		if a := r.as(owner, "PATCH", path, map[string]any{"enabled": false}); a.status != 200 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		if a := send(key.Secret); a.status != 401 || !strings.Contains(a.problem(r.t).Detail, "switched off") {
			r.t.Errorf("switched off: %d %s", a.status, a.body)
		}
		r.as(owner, "PATCH", path, map[string]any{"enabled": true})
		// An element that leaves the list, or is fed by a device since, takes no more of it.
		if a := r.as(owner, "PATCH", path, map[string]any{"elements": []any{}}); a.status != 200 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		if a := send(key.Secret); a.status != 400 {
			r.t.Errorf("an element that left the list: %d", a.status)
		}
		if err := r.access.RecordUse(ctx); err != nil {
			r.t.Fatal(err)
		}
		us := items[api.Usage](r.t, r.as(owner, "GET", path+"/usage", nil))
		us = slices.DeleteFunc(us, func(u api.Usage) bool { return u.Class != "send" })
		if len(us) != 1 || us[0].Samples != 1 || us[0].Requests != 2 {
			r.t.Errorf("usage: %+v", us)
		}
		if a := r.as(owner, "DELETE", path, nil); a.status != 204 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		if a := send(key.Secret); a.status != 401 {
			r.t.Errorf("of a deleted integration: %d", a.status)
		}
		if len(r.values(e.ID)) != 1 {
			r.t.Error("what it sent is gone with it")
		}
	})
}

// TestSendingIsAllOrNothing: one wrong row, and nothing is stored; each wrong row is named.
func TestSendingIsAllOrNothing(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		i := r.integration(r.owner, lh.IntegrationElement{Name: "rain", Measurement: "rain", Field: "mm"})
		e := i.Elements[0].Element
		url := "/api/v1/integrations/" + string(i.ID)
		a := r.do("POST", url+"/samples", `{"samples":[{"element":"rain","time":1700000000000,"value":1},{"element":"snow","time":1700000000000,"value":1},
			{"element":"`+string(e)+`","time":99999999999999999,"value":1}]}`, bearer(i.key))
		p := a.problem(r.t)
		if p.Status != 400 || len(p.Errors) != 2 || p.Errors[0].Location != "body.samples[1].element" || p.Errors[1].Location != "body.samples[2].time" ||
			!strings.Contains(p.Detail, "Nothing of it was stored") {
			r.t.Errorf("%+v", p)
		}
		a = r.do("POST", url+"/write", "rain mm=1 1700000000000000000\nrain mm=x\nsnow cm=4\nrain mm=\"text\"\nrain mm=1 99999999999999999999\n", bearer(i.key), header("Content-Type", "text/plain"))
		p = a.problem(r.t)
		var at []string
		for _, e := range p.Errors {
			at = append(at, e.Location)
		}
		if p.Status != 400 || !slices.Equal(at, []string{"line 2", "line 3", "line 4", "line 5"}) {
			r.t.Errorf("%+v", p)
		}
		if got := r.values(e); len(got) != 0 {
			r.t.Errorf("of what was refused there is %v", got)
		}
		// Many wrong rows do not make a long answer.
		a = r.do("POST", url+"/write", strings.Repeat("snow cm=4\n", 15000), bearer(i.key), header("Content-Type", "text/plain"))
		if p = a.problem(r.t); len(p.Errors) != 100 || !strings.Contains(p.Detail, "14999 more") {
			r.t.Errorf("%d errors, %s", len(p.Errors), p.Detail)
		}
		for name, c := range map[string]struct {
			body   string
			opts   []option
			status int
		}{
			"too many":          {strings.Repeat("rain mm=4\n", 20001), nil, 413},
			"as many as may be": {strings.Repeat("rain mm=4\n", 20000), nil, 204},
			"too long":          {strings.Repeat("# a comment that is long\n", 100000), nil, 413},
			"a bomb":            {gzipped(strings.Repeat(" ", 64<<20)), []option{header("Content-Encoding", "gzip")}, 413},
			"no gzip":           {"rain mm=4", []option{header("Content-Encoding", "gzip")}, 400},
			"cut gzip":          {gzipped("rain mm=4")[:12], []option{header("Content-Encoding", "gzip")}, 400},
			"another encoding":  {"rain mm=4", []option{header("Content-Encoding", "br")}, 415},
			"nothing":           {"", nil, 204},
		} {
			a := r.do("POST", url+"/write", c.body, append(c.opts, bearer(i.key), header("Content-Type", "text/plain"))...)
			if a.status != c.status {
				r.t.Errorf("%s: %d %.200s", name, a.status, a.body)
			}
		}
		if a := r.do("POST", url+"/samples", `{"samples":[{"element":"rain","time":1,"value":1e999}]}`, bearer(i.key)); a.status != 400 {
			r.t.Errorf("a number that is none: %d", a.status)
		}
	})
}

func gzipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s)) // to memory
	z.Close()
	return b.String()
}

// TestInfluxClients sends as Telegraf and the libraries of InfluxDB do, and reads answers where those look.
func TestInfluxClients(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		i := r.integration(r.owner, lh.IntegrationElement{Measurement: "weather", Field: "temp", Tags: map[string]string{"host": "a"}},
			lh.IntegrationElement{Measurement: "weather", Field: "temp"}, lh.IntegrationElement{Measurement: "pump", Field: "on"})
		at := func(n int) map[lh.Millis]float64 { return r.values(i.Elements[n].Element) }
		text := header("Content-Type", "text/plain; charset=utf-8")
		token := header("Authorization", "Token "+i.key)
		password := func(q *http.Request) { q.SetBasicAuth("anybody", i.key) }
		for name, c := range map[string]struct {
			path string
			opts []option
		}{
			"Telegraf, outputs.influxdb_v2": {"/api/v2/write?bucket=weather&org=us", []option{text, token, header("User-Agent", "Telegraf/1.30.0 Go/1.22"), header("Content-Encoding", "gzip")}},
			"influxdb-client":               {"/api/v2/write?bucket=weather&org=us&precision=ns", []option{text, token, header("Accept", "application/json")}},
			"Telegraf, outputs.influxdb":    {"/write?db=telegraf&consistency=any&rp=", []option{text, password, header("Content-Encoding", "gzip")}},
			"influxdb1-client":              {"/write?consistency=&db=x&precision=n&rp=", []option{header("Content-Type", ""), password}},
		} {
			now := time.Now().UnixNano() - int64(time.Minute)
			body := fmt.Sprintf("weather,host=a,region=eu\\ west temp=21.5,ignored=\"x\" %d\nweather,host=b temp=3i %d\r\npump on=true %d\n", now, now, now)
			body = strings.Replace(body, ",ignored=\"x\"", "", 1)
			if slices.ContainsFunc(c.opts, func(o option) bool {
				q, _ := http.NewRequest("GET", "http://x", nil)
				o(q)
				return q.Header.Get("Content-Encoding") == "gzip"
			}) {
				body = gzipped(body)
			}
			a := r.do("POST", c.path, body, c.opts...)
			if a.status != 204 || len(a.body) != 0 {
				r.t.Errorf("%s: %d %s", name, a.status, a.body)
				continue
			}
			ms := lh.Millis(now / 1e6)
			if at(0)[ms] != 21.5 || at(1)[ms] != 3 || at(2)[ms] != 1 {
				r.t.Errorf("%s: %v %v %v", name, at(0), at(1), at(2))
			}
		}
		for precision, ms := range map[string]lh.Millis{"s": 1_700_000_001_000, "ms": 1_700_000_001_000, "us": 1_700_000_001_000, "h": 1_699_999_200_000} {
			n := map[string]int64{"s": 1_700_000_001, "ms": 1_700_000_001_000, "us": 1_700_000_001_000_999, "h": 472_222}[precision]
			if a := r.do("POST", "/api/v2/write?precision="+precision, fmt.Sprint("pump on=0.25 ", n), text, token); a.status != 204 {
				r.t.Errorf("%s: %d %s", precision, a.status, a.body)
			}
			if at(2)[ms] != 0.25 {
				r.t.Errorf("%s: %v", precision, at(2))
			}
		}
		// Errors stand where each of the clients looks.
		for _, path := range []string{"/api/v2/write", "/write"} {
			for want, a := range map[int]answer{400: r.do("POST", path, "pump on", text, token), 401: r.do("POST", path, "pump on=1", text)} {
				var e struct{ Message, Error, Code string }
				if err := json.Unmarshal(a.body, &e); err != nil || a.status != want || e.Message == "" || e.Error != e.Message || e.Code == "" {
					r.t.Errorf("%s: %d %s", path, a.status, a.body)
				}
			}
		}
		// What is unknown is refused, or left out where the integration is set so.
		mixed := "pump on=1,off=2\ncpu usage=5\n"
		if a := r.do("POST", "/write", mixed, text, token); a.status != 400 {
			r.t.Errorf("unknown names: %d", a.status)
		}
		i.Integration.SkipUnknown = true
		if err := r.db.ChangeIntegration(ctx, r.owner, i.Integration); err != nil {
			r.t.Fatal(err)
		}
		before := len(at(2))
		if a := r.do("POST", "/write", mixed, text, token); a.status != 204 || len(at(2)) != before+1 {
			r.t.Errorf("skipped names: %d, %v", a.status, at(2))
		}
		// A log-in or a service account's key is not for it, nor is the key in the URL.
		_, key := r.service(r.owner, lh.RoleAdministrator)
		for status, o := range map[int]option{403: header("Authorization", "Token "+key), 401: header("X-Nothing", "")} {
			if a := r.do("POST", "/write?u=x&p="+i.key, "pump on=1", text, o); a.status != status {
				r.t.Errorf("want %d: %d %s", status, a.status, a.body)
			}
		}
	})
}

func TestLineProtocol(t *testing.T) {
	for in, want := range map[string]string{
		"m f=1":                        "m [] f=1",
		"m,t=v f=1 5":                  "m [[t v]] f=1 @5",
		"m f=-1.5e-3,g=2i,h=3u -7":     "m [] f=-0.0015 g=2 h=3 @-7",
		"m f=t,g=FALSE":                "m [] f=1 g=0",
		`my\,m\ x,t\=a\,b=c\ d f\ 1=1`: "my,m x [[t=a,b c d]] f 1=1",
		`m\x f=1`:                      `m\x [] f=1`,
		`m f="a, \"b\" c=d" 5`:         "m [] f=NaN @5",
		"m f=\"two\nlines\",g=1":       "m [] f=NaN g=1",
		"m   f=1   5  ":                "m [] f=1 @5",
		"m f=1 5\r":                    "m [] f=1 @5",
		"m":                            "!", "m ": "!", ",t=v f=1": "!", "m,t f=1": "!", "m,t= f=1": "!", "m,=v f=1": "!", "m f=": "!", "m f": "!", "m =1": "!",
		"m f=1,": "!", "m f=1 x": "!", "m f=1 5 6": "!", "m f=NaN": "!", "m f=Inf": "!", "m f=0x10": "!", "m f=1_0": "!", "m f=1e999": "!", "m f=1.5i": "!",
		"m f=99999999999999999999i": "!", `m f="x`: "!", `m f="x"y`: "!", "m f=1 99999999999999999999": "!", "m,t=a=b f=1": "!",
	} {
		var got []string
		for _, l := range api.ReadLines([]byte(in)) {
			if l.Err != nil {
				got = append(got, "!")
				continue
			}
			s := fmt.Sprint(l.Measurement, " ", l.Tags)
			for _, k := range []string{"f", "f 1", "g", "h"} {
				if v, ok := l.Fields[k]; ok {
					s += fmt.Sprintf(" %s=%v", k, v)
				}
			}
			if l.Timed {
				s += fmt.Sprint(" @", l.Time)
			}
			got = append(got, s)
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	lines := api.ReadLines([]byte("# comment\n\n a f=1\nbad\nb f=\"x\ny\"\nc f=1"))
	var at []string
	for _, l := range lines {
		at = append(at, fmt.Sprint(l.Number, l.Err != nil))
	}
	if fmt.Sprint(at) != "[3 false 4 true 5 false 7 false]" {
		t.Errorf("lines %v", at)
	}
}

// FuzzLineProtocol: nothing that is sent takes the hub down, what is read is finite, and written anew reads the same.
func FuzzLineProtocol(f *testing.F) {
	for _, s := range []string{"m,t=v f=1,g=2i 5\n", `a\ b,c\,d=e\=f g="h\"" 1`, "#\n\r\n\t m f=t", "m f=\"\n\"", "\\", "m,\\ =\\, \\==1"} {
		f.Add([]byte(s))
	}
	name := strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `).Replace
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range api.ReadLines(data) {
			if l.Err != nil {
				continue
			}
			if l.Measurement == "" || len(l.Fields) == 0 {
				t.Fatalf("%+v", l)
			}
			texts := l.Measurement + strings.Join(slices.Collect(maps.Keys(l.Fields)), "")
			again := strings.NewReplacer(",", `\,`, " ", `\ `).Replace(l.Measurement)
			for _, tag := range l.Tags {
				again += "," + name(tag[0]) + "=" + name(tag[1])
				texts += tag[0] + tag[1]
			}
			sep := " "
			for k, v := range l.Fields {
				if math.IsInf(v, 0) {
					t.Fatalf("field %q is %v", k, v)
				}
				if math.IsNaN(v) {
					again += sep + name(k) + `="x"`
				} else {
					again += sep + name(k) + "=" + fmt.Sprint(v)
				}
				sep = ","
			}
			if strings.Contains(texts, `\`) || strings.HasPrefix(l.Measurement, "#") || strings.HasPrefix(l.Measurement, "\t") {
				continue // which the format cannot always write
			}
			back := api.ReadLines([]byte(again))
			if len(back) != 1 || back[0].Err != nil || back[0].Measurement != l.Measurement || !slices.Equal(back[0].Tags, l.Tags) || len(back[0].Fields) != len(l.Fields) {
				t.Fatalf("%q: %+v, was %+v", again, back, l)
			}
		}
	})
}
