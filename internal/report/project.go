package report

import (
	"archive/zip"
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// What a whole project is exported as. The names are those of the REST API where it has the same thing.
type (
	projectFile struct {
		Exported  string         `json:"exported"`
		Project   projectEntry   `json:"project"`
		Members   []memberEntry  `json:"members"`
		Locations []locatedEntry `json:"locations"`
		Devices   []deviceEntry  `json:"devices"`
		Elements  []elementEntry `json:"elements"`
	}
	projectEntry struct {
		ID        lh.ProjectID `json:"id"`
		Name      string       `json:"name"`
		Zone      string       `json:"zone"`
		Created   string       `json:"created"`
		Retention int          `json:"retention_days"`
	}
	memberEntry struct {
		User      lh.UserID       `json:"user_id"`
		Role      lh.Role         `json:"role"`
		Locations []lh.LocationID `json:"locations,omitempty"`
	}
	locatedEntry struct {
		ID        lh.LocationID `json:"id"`
		Name      string        `json:"name"`
		Zone      string        `json:"zone,omitempty"`
		Latitude  float64       `json:"latitude"`
		Longitude float64       `json:"longitude"`
		Created   string        `json:"created"`
	}
	deviceEntry struct {
		ID       lh.DeviceID    `json:"id"`
		Name     string         `json:"name"`
		Serial   string         `json:"serial"`
		Hardware string         `json:"hardware"`
		State    lh.DeviceState `json:"state"`
		Location lh.LocationID  `json:"location_id,omitempty"`
		Firmware string         `json:"firmware"`
		Created  string         `json:"created"`
	}
	elementEntry struct {
		ID          lh.ElementID      `json:"id"`
		Name        string            `json:"name"`
		Device      lh.DeviceID       `json:"device_id,omitempty"`
		Location    lh.LocationID     `json:"location_id,omitempty"`
		Channel     string            `json:"channel,omitempty"`
		Quantity    string            `json:"quantity,omitempty"`
		Unit        string            `json:"unit,omitempty"`
		Color       string            `json:"color"`
		Digits      int               `json:"digits"`
		Interval    int64             `json:"interval_ms"`
		Meaning     lh.Meaning        `json:"meaning"`
		Created     string            `json:"created"`
		Corrections []correctionEntry `json:"corrections,omitempty"`
		Approvals   []approvalEntry   `json:"approvals,omitempty"`
	}
	correctionEntry struct {
		ID      lh.CorrectionID   `json:"id"`
		Number  int64             `json:"number"`
		From    lh.Millis         `json:"from"`
		To      lh.Millis         `json:"to"`
		Kind    lh.CorrectionKind `json:"kind"`
		A       float64           `json:"a"`
		B       float64           `json:"b"`
		Flag    lh.Flag           `json:"flag,omitempty"`
		Samples []sampleEntry     `json:"samples,omitempty"`
		Comment string            `json:"comment,omitempty"`
		Created string            `json:"created"`
		By      lh.Actor          `json:"by"`
		Revoked string            `json:"revoked,omitempty"`
	}
	sampleEntry struct {
		Time  lh.Millis `json:"time"`
		Value float64   `json:"value"`
		Flag  lh.Flag   `json:"flag"`
	}
	approvalEntry struct {
		ID      lh.ApprovalID `json:"id"`
		From    lh.Millis     `json:"from"`
		To      lh.Millis     `json:"to"`
		Comment string        `json:"comment,omitempty"`
		Created string        `json:"created"`
		By      lh.Actor      `json:"by"`
		Revoked string        `json:"revoked,omitempty"`
	}
	auditEntry struct {
		Number    int64           `json:"number"`
		Time      string          `json:"time"`
		ActorKind lh.ActorKind    `json:"actor_kind"`
		ActorID   string          `json:"actor_id"`
		Action    string          `json:"action"`
		Subject   string          `json:"subject"`
		Detail    json.RawMessage `json:"detail"`
		Hash      []byte          `json:"hash"`
	}
)

func moment(t lh.Millis) string {
	if t == 0 {
		return ""
	}
	return string(appendTime(nil, t, time.UTC))
}

const projectReadMe = `Everything in a project of a Loggerhead hub.

project.json        the project, its members, locations, devices and elements, with the corrections and approvals of each
raw/<element>.csv   its samples as they were measured: time (UTC), value, flag
shown/<element>.csv the same as people saw them at the time of the export, of elements that were corrected or approved
audit.ndjson        who changed what and when, one event a line, chained by hashes

Flags follow QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 bad, 9 missing.
`

// writeProject writes a whole project as a ZIP.
func (x *Exports) writeProject(ctx context.Context, sc store.Scope, to io.Writer, count func(int64)) error {
	z := zip.NewWriter(to)
	text, err := z.Create("README.txt")
	if err == nil {
		_, err = io.WriteString(text, projectReadMe)
	}
	if err != nil {
		return err
	}
	about, elements, err := x.describe(ctx, sc)
	if err != nil {
		return err
	}
	f, err := z.Create("project.json")
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	if err := enc.Encode(about); err != nil {
		return err
	}
	for i, e := range elements {
		entry := about.Elements[i]
		ways := []string{"raw"}
		if len(entry.Corrections) > 0 || len(entry.Approvals) > 0 {
			ways = append(ways, "shown")
		}
		for _, way := range ways {
			f, err := z.Create(way + "/" + string(e.ID) + ".csv")
			if err != nil {
				return err
			}
			if err := x.writeElement(ctx, sc, e, way == "raw", f, count); err != nil {
				return err
			}
		}
	}
	if f, err = z.Create("audit.ndjson"); err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	enc = json.NewEncoder(out)
	err = x.o.DB.Audit(ctx, sc, 0, math.MaxInt32, store.AuditFilter{}, func(e lh.AuditEvent) error {
		return enc.Encode(auditEntry{e.Number, moment(e.Time), e.Actor.Kind, e.Actor.ID, e.Action, e.Subject, json.RawMessage(e.Detail), e.Hash})
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// whole is the range of every sample there can be.
func whole(q *lh.ExportRequest) { q.From, q.To = lh.MinMillis, lh.MaxMillis+1 }

func (x *Exports) writeElement(ctx context.Context, sc store.Scope, e lh.Element, raw bool, to io.Writer, count func(int64)) error {
	q := lh.ExportRequest{Layout: lh.ExportLong, Zone: "UTC", Raw: raw, Flags: true}
	whole(&q)
	l, o, err := newLayout(q, []lh.Element{e})
	if err != nil {
		return err
	}
	// The element is in the file's name.
	columns := l.columns
	l.columns = []column{columns[0], columns[4], columns[5]}
	out := bufio.NewWriterSize(to, 32<<10)
	w, err := newCSV(out, l)
	if err != nil {
		return err
	}
	row := make([]cell, 3)
	for p, err := range x.points(ctx, sc, e, q, l, o) {
		if err != nil {
			return err
		}
		row[0], row[1], row[2] = timeCell(p.at), numberCell(p.values[0]), flagCell(p.flag)
		if err := w.row(row); err != nil {
			return err
		}
		if raw {
			count(1)
		}
	}
	return out.Flush()
}

// describe reads all but the samples and the audit trail.
func (x *Exports) describe(ctx context.Context, sc store.Scope) (about projectFile, elements []lh.Element, err error) {
	p, err := x.o.DB.Project(ctx, sc)
	if err != nil {
		return about, nil, err
	}
	about = projectFile{Exported: moment(lh.MillisOf(x.o.Now())), Project: projectEntry{p.ID, p.Name, p.Zone, moment(p.Created), p.Retention},
		Members: []memberEntry{}, Locations: []locatedEntry{}, Devices: []deviceEntry{}, Elements: []elementEntry{}}
	members, err := x.o.DB.Members(ctx, sc)
	if err != nil {
		return about, nil, err
	}
	for _, m := range members {
		about.Members = append(about.Members, memberEntry{m.User, m.Role, m.Locations})
	}
	locations, err := x.o.DB.Locations(ctx, sc)
	if err != nil {
		return about, nil, err
	}
	for _, l := range locations {
		about.Locations = append(about.Locations, locatedEntry{l.ID, l.Name, l.Zone, l.Latitude, l.Longitude, moment(l.Created)})
	}
	devices, err := x.o.DB.Devices(ctx, sc)
	if err != nil {
		return about, nil, err
	}
	for _, d := range devices {
		about.Devices = append(about.Devices, deviceEntry{d.ID, d.Name, d.Serial, d.Hardware, d.State, d.Location, d.Firmware, moment(d.Created)})
	}
	if elements, err = x.o.DB.Elements(ctx, sc); err != nil {
		return about, nil, err
	}
	for _, e := range elements {
		entry := elementEntry{ID: e.ID, Name: e.Name, Device: e.Device, Location: e.Location, Channel: e.Channel, Quantity: e.Quantity, Unit: e.Unit,
			Color: e.Color, Digits: e.Digits, Interval: e.Interval, Meaning: e.Meaning, Created: moment(e.Created)}
		cs, err := x.o.DB.Corrections(ctx, sc, e.ID, lh.MinMillis, lh.MaxMillis+1)
		if err != nil {
			return about, nil, err
		}
		for _, c := range cs {
			ce := correctionEntry{ID: c.ID, Number: c.Number, From: c.From, To: c.To, Kind: c.Kind, A: c.A, B: c.B, Flag: c.Flag, Comment: c.Comment,
				Created: moment(c.Created), By: c.By, Revoked: moment(c.Revoked)}
			for _, s := range c.Samples {
				ce.Samples = append(ce.Samples, sampleEntry{s.Time, s.Value, s.Flag})
			}
			entry.Corrections = append(entry.Corrections, ce)
		}
		as, err := x.o.DB.Approvals(ctx, sc, e.ID, lh.MinMillis, lh.MaxMillis+1)
		if err != nil {
			return about, nil, err
		}
		for _, a := range as {
			entry.Approvals = append(entry.Approvals, approvalEntry{a.ID, a.From, a.To, a.Comment, moment(a.Created), a.By, moment(a.Revoked)})
		}
		about.Elements = append(about.Elements, entry)
	}
	return about, elements, nil
}
