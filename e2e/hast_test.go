package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// hastFile is what real LoRa loggers uploaded from 2023 to 2025, as it came: rows repeated by the thousand and out of
// order, packets that the air has damaged (nodes that do not exist, clocks in 1969), sensors that did not start.
const hastFile = "../../shared/data/hast-loggers-2023-2025.csv"

// What is known of the file, counted without this project.
const (
	hastRows     = 72250
	hastDistinct = 51929 // by node and time
	hastNodes    = 17    // of which four are real: 3, 5, 10 and, for two days, 20
	hastNoise    = 13    // rows of nodes that do not exist; all of them say 1969
	hastNode10   = 39840 // distinct times of the busiest node
	hastSuspect  = 29    // samples, of the 39 of the noise
	hastBad      = 26    // samples whose sensor did not start, 10 of them noise
)

// hastRow is a row of the file.
type hastRow struct {
	node   string
	at     int64
	values [3]float64 // battery, temperature, humidity
	flags  [3]int     // as the gateway gives them
}

var hastChannels = [3]string{"battery", "temperature", "humidity"}

// readHast reads the file in its own order.
func readHast(t *testing.T) (rows []hastRow) {
	t.Helper()
	f, err := os.Open(hastFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here; it may not be copied into the project", hastFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	for line := 1; ; line++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if line == 1 {
			if rec[0] != "Node" || rec[2] != "Time UTC" || rec[3] != "Battery V" || rec[5] != "Temp C" || rec[6] != "Hum %" || rec[8] != "Notes" {
				t.Fatalf("the columns are %q", rec)
			}
			continue
		}
		at, err := time.Parse("2006-01-02T15:04:05", rec[2])
		if err != nil {
			t.Fatalf("line %d: %v", line, err)
		}
		row := hastRow{node: rec[0], at: at.UnixMilli(), flags: [3]int{1, 1, 1}}
		for i, column := range []int{3, 5, 6} {
			if row.values[i], err = strconv.ParseFloat(rec[column], 64); err != nil {
				t.Fatalf("line %d: %v", line, err)
			}
		}
		if strings.Contains(rec[8], "SHT_31_INIT_ERROR") { // the sensor of temperature and humidity did not start
			row.flags[1], row.flags[2] = 4, 4
		}
		rows = append(rows, row)
	}
}

// TestFieldData sends the file through a real hub, in file order, as a gateway of these nodes would, and asks it all back.
// What is expected is worked out here by a plain map: of one node's rows of one time the last in the file stands, values
// are exact, and what has an impossible time is suspect.
func TestFieldData(t *testing.T) {
	rows := readHast(t)
	in := install(t, "sqlite:hub.db")
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "HAST", "America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	d := in.enrol(h, c, p.ID, "HAST-GATEWAY")

	type reading struct {
		value float64
		flag  int
	}
	expected := map[string]map[int64]reading{} // by channel and time
	distinct, noise := map[string]bool{}, 0
	learn := func(row hastRow) {
		distinct[fmt.Sprint(row.node, row.at)] = true
		if row.at < 0 {
			noise++
		}
		for i, name := range hastChannels {
			channel := row.node + "/" + name
			if expected[channel] == nil {
				expected[channel] = map[int64]reading{}
			}
			flag := row.flags[i]
			if row.at < 1e12 {
				flag = max(flag, 3)
			}
			expected[channel][row.at] = reading{row.values[i], flag}
		}
	}

	device := d.HTTP(d.Pair())
	var middle struct { // what stood when half of the file was in
		at       int64
		expected map[int64]reading // of node 10's temperature
	}
	const batch = 850
	for first := 0; first < len(rows); first += batch {
		part := rows[first:min(first+batch, len(rows))]
		ack := uploadHast(t, h, device, uint32(first+1), part)
		for _, row := range part {
			learn(row)
		}
		if middle.at == 0 && first > len(rows)/2 {
			middle.at, middle.expected = int64(ack.Time), maps.Clone(expected["10/temperature"])
			time.Sleep(3 * time.Millisecond) // the next upload comes at a later millisecond
		}
	}
	if len(rows) != hastRows || len(distinct) != hastDistinct || len(expected) != 3*hastNodes || noise != hastNoise || len(expected["10/temperature"]) != hastNode10 {
		t.Fatalf("the file is another: %d rows, %d distinct, %d series, %d of noise, %d of node 10", len(rows), len(distinct), len(expected), noise, len(expected["10/temperature"]))
	}

	es, err := c.Elements(ctx, p.ID, d.id)
	if err != nil || len(es) != len(expected) {
		t.Fatalf("%d elements, want %d; %v", len(es), len(expected), err)
	}
	latest := map[string]client.Latest{}
	ls, err := c.Latest(ctx, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		latest[l.ElementID] = l
	}
	var suspect, bad int
	for _, e := range es {
		want := expected[e.Channel]
		var least, greatest, newest int64 // times; of equal values the first
		seen := 0
		for s, err := range c.Export(ctx, p.ID, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis)) {
			if err != nil {
				t.Fatal(err)
			}
			w, ok := want[s.Time]
			if !ok || math.Float64bits(w.value) != math.Float64bits(s.Value) || w.flag != s.Flag {
				t.Fatalf("%s at %d is %v flagged %d, the file has %+v (%v)", e.Channel, s.Time, s.Value, s.Flag, w, ok)
			}
			if seen > 0 && s.Time <= newest {
				t.Fatalf("%s: %d after %d", e.Channel, s.Time, newest)
			}
			if seen == 0 || w.value < want[least].value {
				least = s.Time
			}
			if seen == 0 || w.value > want[greatest].value {
				greatest = s.Time
			}
			switch s.Flag {
			case 3:
				suspect++
			case 4:
				bad++
			}
			newest = s.Time
			seen++
		}
		if seen != len(want) {
			t.Errorf("%s: %d samples are read, the file has %d", e.Channel, seen, len(want))
		}
		if l := latest[e.ID]; l.Time != newest || l.Value != want[newest].value || l.Flag != want[newest].flag {
			t.Errorf("%s: latest is %+v, want %+v at %d", e.Channel, l, want[newest], newest)
		}
		reduced, err := c.Series(ctx, p.ID, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis), 300)
		if err != nil {
			t.Fatal(err)
		}
		r := reduced[0]
		if r.Count != int64(len(want)) || slices.Min(r.Values) != want[least].value || slices.Max(r.Values) != want[greatest].value || !slices.Contains(r.Times, least) || !slices.Contains(r.Times, greatest) {
			t.Errorf("%s: reduced to %d of %d samples, %v to %v, want %d, %v to %v", e.Channel, len(r.Values), r.Count, slices.Min(r.Values), slices.Max(r.Values), len(want), want[least].value, want[greatest].value)
		}
	}
	// The sensor that did not start is bad wherever it is told; of the noise, the rest is suspect.
	wantSuspect, wantBad := 0, 0
	for _, want := range expected {
		for _, w := range want {
			switch w.flag {
			case 3:
				wantSuspect++
			case 4:
				wantBad++
			}
		}
	}
	if suspect != wantSuspect || bad != wantBad || suspect != hastSuspect || bad != hastBad {
		t.Errorf("%d are suspect and %d bad, want %d and %d", suspect, bad, wantSuspect, wantBad)
	}

	var temperature string
	for _, e := range es {
		if e.Channel == "10/temperature" {
			temperature = e.ID
		}
	}
	// As it stood when half of the file was in.
	var then struct{ Series []client.Series }
	ask(t, in, c, h, "/api/v1/projects/"+p.ID+"/series", url.Values{"elements": {temperature}, "from": {"0"}, "to": {"2000000000000"}, "as_of": {fmt.Sprint(middle.at)}}, &then)
	got := then.Series[0]
	if len(got.Times) != len(middle.expected) || len(got.Times) == hastNode10 {
		t.Errorf("when half of it was in, there were %d samples, want %d of %d", len(got.Times), len(middle.expected), hastNode10)
	}
	for i, at := range got.Times {
		if w, ok := middle.expected[at]; !ok || w.value != got.Values[i] {
			t.Fatalf("when half of it was in, %d was %v, want %+v", at, got.Values[i], w)
		}
	}
	checkMonths(t, in, c, h, p.ID, temperature, func(yield func(int64, float64) bool) {
		for _, at := range slices.Sorted(maps.Keys(expected["10/temperature"])) {
			if w := expected["10/temperature"][at]; w.flag < 4 && !yield(at, w.value) {
				return
			}
		}
	})

	if err := h.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, h.log)
	}
	out := in.command(nil, "verify")
	if want := fmt.Sprintf("%d samples, %d overwritten values, 0 uploads not folded yet", 3*hastDistinct, 3*(hastRows-hastDistinct)); !strings.Contains(out, want) {
		t.Errorf("verify says %q, want %q", out, want)
	}
	t.Logf("%d rows; %d suspect, %d bad; %s", len(rows), suspect, bad, strings.TrimSpace(out))
}

// uploadHast sends rows as records of the gateway's log.
func uploadHast(t *testing.T, h *hub, device *http.Client, first uint32, rows []hastRow) (ack wire.Ack) {
	t.Helper()
	b := wire.Batch{Log: 10, First: first}
	index := map[string]uint16{}
	for _, row := range rows {
		rec := wire.Record{Time: lh.Millis(row.at)}
		for i, name := range hastChannels {
			channel := row.node + "/" + name
			k, known := index[channel]
			if !known {
				k = uint16(len(b.Channels))
				index[channel], b.Channels = k, append(b.Channels, channel)
			}
			rec.Values = append(rec.Values, wire.Value{Channel: k, Flag: lh.Flag(row.flags[i]), Value: row.values[i]})
		}
		b.Records = append(b.Records, rec)
	}
	raw, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := device.Post("https://"+h.Devices+"/v1/batch", wire.ContentBatch, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &ack) != nil || ack.AckedThrough != b.Last() {
		t.Fatalf("upload of %d: %d %s %v", first, resp.StatusCode, body, err)
	}
	return ack
}

// ask asks the API what the client has no method for.
func ask(t *testing.T, in *installation, c *client.Client, h *hub, path string, q url.Values, answer any) {
	t.Helper()
	req, err := http.NewRequest("GET", "https://"+h.People+path+"?"+q.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: in.roots}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %.300s %v", path, resp.StatusCode, body, err)
	}
}

// checkMonths holds the statistics of each month, as the zone of the loggers cuts it, against the samples.
func checkMonths(t *testing.T, in *installation, c *client.Client, h *hub, project, element string, samples func(func(int64, float64) bool)) {
	t.Helper()
	zone, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	type month struct {
		n                int64
		sum, least, most float64
	}
	want := map[string]*month{}
	for at, v := range samples {
		k := time.UnixMilli(at).In(zone).Format("2006-01")
		m := want[k]
		if m == nil {
			m = &month{least: v, most: v}
			want[k] = m
		}
		m.n, m.sum, m.least, m.most = m.n+1, m.sum+v, min(m.least, v), max(m.most, v)
	}
	from, to := time.Date(2023, 1, 1, 0, 0, 0, 0, zone), time.Date(2025, 3, 1, 0, 0, 0, 0, zone)
	var got struct {
		Statistics []struct {
			Buckets []struct {
				From, To int64
				Good     int64
				Values   map[string]*float64
			}
		}
	}
	ask(t, in, c, h, "/api/v1/projects/"+project+"/statistics", url.Values{"elements": {element}, "from": {fmt.Sprint(from.UnixMilli())}, "to": {fmt.Sprint(to.UnixMilli())},
		"step": {"P1M"}, "functions": {"mean,min,max,sum"}}, &got)
	buckets := got.Statistics[0].Buckets
	if len(buckets) != 26 {
		t.Fatalf("%d months", len(buckets))
	}
	for i, b := range buckets {
		start := from.AddDate(0, i, 0)
		if b.From != start.UnixMilli() || b.To != from.AddDate(0, i+1, 0).UnixMilli() {
			t.Errorf("month %d is %d to %d", i, b.From, b.To)
		}
		m := want[start.Format("2006-01")]
		if m == nil {
			if b.Good != 0 || b.Values["mean"] != nil {
				t.Errorf("%s: %d good samples, want none", start.Format("2006-01"), b.Good)
			}
			continue
		}
		near := func(name string, w float64) bool {
			v := b.Values[name]
			return v != nil && math.Abs(*v-w) <= 1e-9*max(1, math.Abs(w))
		}
		if b.Good != m.n || !near("sum", m.sum) || !near("mean", m.sum/float64(m.n)) || !near("min", m.least) || !near("max", m.most) {
			t.Errorf("%s: %+v, want %+v", start.Format("2006-01"), b, *m)
		}
	}
}
