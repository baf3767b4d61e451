package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// large makes an element whose export as CSV has more than two writes of parts (2 MiB), and returns it with the request.
func (r *rig) large(sc store.Scope) lh.ExportRequest {
	r.t.Helper()
	own, d, es := r.logger(sc, "", "1/level")
	const at, rows = lh.Millis(1720000000_000), 50_000
	for from := 0; from < rows; from += 5000 {
		values := make([][]float64, 5000)
		for i := range values {
			values[i] = []float64{math.Sqrt(float64(from + i))}
		}
		r.upload(own, d, es, at+lh.Millis(from)*1000, 1000, values...)
	}
	return lh.ExportRequest{From: at, To: at + rows*1000, Zone: "UTC", Format: lh.ExportCSV}
}

// stuck is a hub that hangs when it has kept the first parts of a file, until it is let go.
type stuck struct {
	at   chan struct{} // closed when it hangs
	free func()
}

func (r *rig) stuck(x *report.Exports) stuck {
	s := stuck{at: make(chan struct{})}
	go_ := make(chan struct{})
	var once sync.Once
	s.free = sync.OnceFunc(func() { close(go_) })
	x.AfterParts(func(store.ExportTurn) {
		once.Do(func() {
			close(s.at)
			<-go_
		})
	})
	return s
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not happen", what)
	}
}

// TestCrash: what a hub that ended left half done another begins anew, and the first can do no harm when it comes back.
func TestCrash(t *testing.T) {
	each(t, func(r *rig) {
		q := r.large(r.owner)
		o := r.options()
		o.Workers = 1
		first := report.New(o)
		hang := r.stuck(first)
		stopFirst := r.start(first)
		r.t.Cleanup(hang.free)
		e := r.ask(first, r.owner, q)
		await(r.t, "the first parts", hang.at)
		if got := r.wait(r.owner, e.ID, lh.ExportRunning); got.Attempt != 1 || got.Size < 1<<20 {
			r.t.Errorf("under way: %+v", got)
		}
		if _, err := first.Open(ctx, r.owner, e); lh.CodeOf(err) != lh.Conflict {
			r.t.Errorf("a file that is not ready opens: %v", err)
		}
		r.clock.Move(2 * time.Minute) // beyond the lease
		second, _ := r.run(o)
		ready := r.wait(r.owner, e.ID, lh.ExportReady)
		if ready.Attempt != 2 || ready.Done != 50_000 || ready.Total != 50_000 {
			r.t.Errorf("ready: %+v", ready)
		}
		before := r.read(second, r.owner, ready)
		hang.free()
		stopFirst()
		after := r.wait(r.owner, e.ID, lh.ExportReady)
		if after.Attempt != 2 || !bytes.Equal(r.read(second, r.owner, after), before) || bytes.Count(before, []byte("\n")) != 50_001 {
			r.t.Errorf("the hub that came back changed the file: %+v", after)
		}
		// The parts of the first attempt are no part of anything any more.
		if err := r.db.SweepExports(ctx); err != nil {
			r.t.Fatal(err)
		}
		ghost := ready
		ghost.Attempt = 1
		if _, err := r.db.ReadExportPart(ctx, r.owner, ghost, 0); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("a part of the first attempt is there: %v", err)
		}
	})
}

// TestStop: a hub that stops gives what it makes back at once.
func TestStop(t *testing.T) {
	each(t, func(r *rig) {
		q := r.large(r.owner)
		o := r.options()
		o.Workers = 1
		first := report.New(o)
		hang := r.stuck(first)
		r.t.Cleanup(hang.free)
		stop := r.start(first)
		e := r.ask(first, r.owner, q)
		await(r.t, "the first parts", hang.at)
		done := make(chan struct{})
		go func() { stop(); close(done) }()
		time.AfterFunc(50*time.Millisecond, hang.free)
		await(r.t, "the stop", done)
		if e, err := r.db.Export(ctx, r.owner, e.ID); err != nil || e.State != lh.ExportWaiting {
			r.t.Errorf("after a stop: %v %+v", err, e)
		}
		second, _ := r.run(o)
		if b := r.read(second, r.owner, r.wait(r.owner, e.ID, lh.ExportReady)); bytes.Count(b, []byte("\n")) != 50_001 {
			r.t.Errorf("%d lines", bytes.Count(b, []byte("\n")))
		}
	})
}

// TestRemove: an export that is removed ends wherever it is: in line, under way, and while it is sent.
func TestRemove(t *testing.T) {
	each(t, func(r *rig) {
		q := r.large(r.owner)
		o := r.options()
		o.Workers = 1
		x := report.New(o)
		hang := r.stuck(x)
		r.t.Cleanup(hang.free)
		waiting := r.ask(x, r.owner, q)
		if err := r.db.RemoveExport(ctx, r.owner, waiting.ID); err != nil {
			r.t.Fatal(err)
		}
		r.start(x)
		running := r.ask(x, r.owner, q)
		await(r.t, "the first parts", hang.at)
		if err := r.db.RemoveExport(ctx, r.owner, running.ID); err != nil {
			r.t.Fatal(err)
		}
		hang.free()
		ready := r.wait(r.owner, r.ask(x, r.owner, q).ID, lh.ExportReady)
		f, err := x.Open(ctx, r.owner, ready)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, f, 300<<10); err != nil {
			r.t.Fatal(err)
		}
		if err := r.db.RemoveExport(ctx, r.owner, ready.ID); err != nil {
			r.t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, f); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("what was removed is read on: %v", err)
		}
		for _, id := range []lh.ExportID{waiting.ID, running.ID, ready.ID} {
			if _, err := r.db.Export(ctx, r.owner, id); lh.CodeOf(err) != lh.NotFound {
				r.t.Errorf("a removed export: %v", err)
			}
			if err := r.db.RemoveExport(ctx, r.owner, id); lh.CodeOf(err) != lh.NotFound {
				r.t.Errorf("removed twice: %v", err)
			}
		}
		if es, err := r.db.Exports(ctx, r.owner); err != nil || len(es) != 0 {
			r.t.Errorf("%v %v", err, es)
		}
	})
}

// TestExpiry: a file is kept for as long as is said, and no longer.
func TestExpiry(t *testing.T) {
	each(t, func(r *rig) {
		r.small()
		x, _ := r.run(r.options())
		e := r.wait(r.owner, r.ask(x, r.owner, smallRequest()).ID, lh.ExportReady)
		if kept := e.Expires - e.Finished; kept != 72*3600_000 {
			r.t.Errorf("it is kept %d ms", kept)
		}
		r.clock.Move(71 * time.Hour)
		if _, err := r.db.Export(ctx, r.owner, e.ID); err != nil {
			r.t.Error(err)
		}
		r.clock.Move(2 * time.Hour)
		if _, err := r.db.Export(ctx, r.owner, e.ID); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("after it expired: %v", err)
		}
		if err := r.db.SweepExports(ctx); err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.db.ReadExportPart(ctx, r.owner, e, 0); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("its file after that: %v", err)
		}
	})
}

// TestBounds: a file that grows too large, or takes too long, fails in words that help.
func TestBounds(t *testing.T) {
	each(t, func(r *rig) {
		q := r.large(r.owner)
		failed := func(o report.Options) lh.Export {
			x, stop := r.run(o)
			defer stop()
			id := r.ask(x, r.owner, q).ID
			for range 2000 {
				e, err := r.db.Export(ctx, r.owner, id)
				if err != nil {
					r.t.Fatal(err)
				}
				if e.State == lh.ExportFailed {
					if _, err := x.Open(ctx, r.owner, e); lh.CodeOf(err) != lh.Conflict || !strings.Contains(err.Error(), e.Reason) {
						r.t.Errorf("the file of a failed export: %v", err)
					}
					return e
				}
				time.Sleep(10 * time.Millisecond)
			}
			r.t.Fatal("it does not fail")
			return lh.Export{}
		}
		o := r.options()
		o.MaxSize = 1 << 20
		if e := failed(o); !strings.Contains(e.Reason, "1 MiB") || !strings.Contains(e.Reason, "shorter range") {
			r.t.Errorf("%q", e.Reason)
		}
		o.MaxSize, o.MaxTime = 0, time.Millisecond
		if e := failed(o); !strings.Contains(e.Reason, "longer than the 1ms") {
			r.t.Errorf("%q", e.Reason)
		}
		if es, err := r.db.Exports(ctx, r.owner); err != nil || len(es) != 2 {
			r.t.Errorf("failed exports are not shown: %v %v", err, es)
		}
	})
}

// TestAsker: an export holds what its asker may see when it is made, and nothing for somebody who may no more.
func TestAsker(t *testing.T) {
	each(t, func(r *rig) {
		here, err := r.db.CreateLocation(ctx, r.owner, lh.Location{Name: "Here"})
		if err != nil {
			r.t.Fatal(err)
		}
		there, err := r.db.CreateLocation(ctx, r.owner, lh.Location{Name: "There"})
		if err != nil {
			r.t.Fatal(err)
		}
		_, _, mine := r.logger(r.owner, here.ID, "1/level")
		_, _, other := r.logger(r.owner, there.ID, "1/level")
		member := func(role lh.Role, at ...lh.LocationID) store.Scope {
			u, err := r.db.CreateUser(ctx, lh.User{Email: string(lh.NewUserID()) + "@a.example", Name: "x"}, "x")
			if err == nil {
				err = r.db.SetMember(ctx, r.owner, lh.Member{User: u.ID, Role: role, Locations: at})
			}
			if err != nil {
				r.t.Fatal(err)
			}
			return store.NewScope(r.owner.Project(), role, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}, at...)
		}
		limited, viewer := member(lh.RoleViewer, here.ID), member(lh.RoleViewer)
		o := r.options()
		x := report.New(o)
		q := lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"}
		// What is not theirs reads as not there.
		for _, id := range []lh.ElementID{other[0].ID, lh.NewElementID()} {
			bad := q
			bad.Elements = []lh.ElementID{mine[0].ID, id}
			if _, err := x.Ask(ctx, limited, bad, ""); lh.CodeOf(err) != lh.NotFound || strings.Contains(err.Error(), string(id)) {
				r.t.Errorf("an element of there: %v", err)
			}
		}
		for _, id := range []lh.LocationID{there.ID, lh.NewLocationID()} {
			if _, err := x.Ask(ctx, limited, q, id); lh.CodeOf(err) != lh.NotFound {
				r.t.Errorf("the location there: %v", err)
			}
		}
		if _, err := x.Ask(ctx, viewer, lh.ExportRequest{Kind: lh.ExportProject}, ""); lh.CodeOf(err) != lh.Forbidden {
			r.t.Errorf("a viewer asks for the whole project: %v", err)
		}
		if _, err := x.Ask(ctx, store.Scope{}, q, ""); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("nobody asks: %v", err)
		}
		all := r.ask(x, limited, q)
		if len(all.Request.Elements) != 1 || all.Request.Elements[0] != mine[0].ID {
			r.t.Errorf("all of a limited asker: %v", all.Request.Elements)
		}
		whole := r.ask(x, r.owner, lh.ExportRequest{Kind: lh.ExportProject})
		wide := r.ask(x, r.owner, q)
		removed := r.ask(x, viewer, q)
		// Who sees which: the limited one only their own, a viewer all but the whole project's.
		if es, err := r.db.Exports(ctx, limited); err != nil || len(es) != 1 || es[0].ID != all.ID {
			r.t.Errorf("the limited one sees %v %v", es, err)
		}
		if es, err := r.db.Exports(ctx, viewer); err != nil || len(es) != 3 {
			r.t.Errorf("the viewer sees %v %v", es, err)
		}
		if _, err := r.db.Export(ctx, viewer, whole.ID); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("the viewer sees the whole project's: %v", err)
		}
		if err := r.db.RemoveExport(ctx, viewer, wide.ID); lh.CodeOf(err) != lh.Forbidden {
			r.t.Errorf("a viewer removes the owner's: %v", err)
		}
		if err := r.db.RemoveExport(ctx, limited, wide.ID); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("the limited one removes the owner's: %v", err)
		}
		// Between asking and making, one is removed and the other loses the location.
		if err := r.db.RemoveMember(ctx, r.owner, lh.UserID(viewer.Actor().ID)); err != nil {
			r.t.Fatal(err)
		}
		if err := r.db.SetMember(ctx, r.owner, lh.Member{User: lh.UserID(limited.Actor().ID), Role: lh.RoleViewer, Locations: []lh.LocationID{there.ID}}); err != nil {
			r.t.Fatal(err)
		}
		r.start(x)
		r.wait(r.owner, wide.ID, lh.ExportReady)
		r.wait(r.owner, whole.ID, lh.ExportReady)
		for id, want := range map[lh.ExportID]string{removed.ID: "may not read the project any more", all.ID: "is gone, or not the asker's to see any more"} {
			e, err := r.db.Export(ctx, r.owner, id)
			for range 1000 {
				if err != nil || e.State == lh.ExportFailed {
					break
				}
				time.Sleep(10 * time.Millisecond)
				e, err = r.db.Export(ctx, r.owner, id)
			}
			if err != nil || !strings.Contains(e.Reason, want) || e.Size != 0 {
				r.t.Errorf("%v %+v, want %q", err, e, want)
			}
		}
		// Who lost the location does not see their own export of it any more.
		moved := store.NewScope(r.owner.Project(), lh.RoleViewer, limited.Actor(), there.ID)
		if es, err := r.db.Exports(ctx, moved); err != nil || len(es) != 0 {
			r.t.Errorf("%v %v", es, err)
		}
	})
}

// TestServiceAccountAsks: a program's exports are made as long as it may.
func TestServiceAccountAsks(t *testing.T) {
	each(t, func(r *rig) {
		r.small()
		s, err := r.db.CreateServiceAccount(ctx, r.owner, lh.ServiceAccount{Name: "Script", Role: lh.RoleViewer, Enabled: true})
		if err != nil {
			r.t.Fatal(err)
		}
		sc := store.NewScope(r.owner.Project(), lh.RoleViewer, lh.Actor{Kind: lh.ActorService, ID: string(s.ID)})
		x := report.New(r.options())
		good := r.ask(x, sc, smallRequest())
		stop := r.start(x)
		if b := r.read(x, sc, r.wait(sc, good.ID, lh.ExportReady)); bytes.Count(b, []byte("\n")) != 5 {
			r.t.Errorf("%s", b)
		}
		stop()
		bad := r.ask(x, sc, smallRequest())
		s.Enabled = false
		if err := r.db.ChangeServiceAccount(ctx, r.owner, s); err != nil {
			r.t.Fatal(err)
		}
		r.run(r.options())
		for range 1000 {
			e, err := r.db.Export(ctx, sc, bad.ID)
			if err != nil {
				r.t.Fatal(err)
			}
			if e.State == lh.ExportFailed && strings.Contains(e.Reason, "may not read") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		r.t.Error("an export of a program that is switched off does not fail")
	})
}

// TestFairness: turns go round the projects, however many exports one of them has in line.
func TestFairness(t *testing.T) {
	each(t, func(r *rig) {
		x := report.New(r.options())
		busy, quiet := r.owner, storetest.Project(r.t, r.db)
		names := map[lh.ProjectID]string{busy.Project(): "busy", quiet.Project(): "quiet"}
		for _, sc := range []store.Scope{busy, busy, busy, quiet, busy, quiet} {
			r.logger(sc, "", "1/level")
			r.ask(x, sc, lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"})
			r.clock.Move(time.Second)
		}
		take := func() (store.ExportTurn, bool) {
			r.clock.Move(time.Second)
			turn, ok, err := r.db.TakeExport(ctx, time.Hour)
			if err != nil {
				r.t.Fatal(err)
			}
			return turn, ok
		}
		order := ""
		for i := range 6 {
			turn, ok := take()
			if !ok {
				r.t.Fatalf("no turn %d", i)
			}
			order += names[turn.Project] + " "
		}
		if want := "busy quiet busy quiet busy busy "; order != want {
			r.t.Errorf("turns went %swant %s", order, want)
		}
		if turn, ok := take(); ok {
			r.t.Errorf("one turn too many: %v", turn)
		}
		// Two hubs never take the same.
		for range 10 {
			r.ask(x, busy, lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"})
		}
		var taken sync.Map
		var count atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					turn, ok, err := r.db.TakeExport(ctx, time.Hour)
					if err != nil {
						r.t.Error(err)
						return
					}
					if ok {
						count.Add(1)
						if _, twice := taken.LoadOrStore(turn.ID, true); twice {
							r.t.Errorf("%v is taken twice", turn)
						}
					}
				}
			})
		}
		wg.Wait()
		if count.Load() != 10 {
			r.t.Errorf("%d of 10 were taken", count.Load())
		}
	})
}

// TestHowManyWait: a project cannot fill the line.
func TestHowManyWait(t *testing.T) {
	each(t, func(r *rig) {
		x := report.New(r.options())
		r.logger(r.owner, "", "1/level")
		q := lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"}
		var last lh.Export
		for range store.MaxExportsWaiting {
			last = r.ask(x, r.owner, q)
		}
		if _, err := x.Ask(ctx, r.owner, q, ""); lh.CodeOf(err) != lh.Exhausted {
			r.t.Errorf("one more: %v", err)
		}
		if err := r.db.RemoveExport(ctx, r.owner, last.ID); err != nil {
			r.t.Fatal(err)
		}
		r.ask(x, r.owner, q)
	})
}

// TestTriedTooOften: an export that ends hubs is given up.
func TestTriedTooOften(t *testing.T) {
	each(t, func(r *rig) {
		r.small()
		x := report.New(r.options())
		e := r.ask(x, r.owner, smallRequest())
		for range 5 {
			if _, ok, err := r.db.TakeExport(ctx, time.Minute); !ok || err != nil {
				r.t.Fatal(ok, err)
			}
			r.clock.Move(2 * time.Minute)
		}
		r.start(x)
		for range 1000 {
			got, err := r.db.Export(ctx, r.owner, e.ID)
			if err != nil {
				r.t.Fatal(err)
			}
			if got.State == lh.ExportFailed && strings.Contains(got.Reason, "stopped 5 times") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		r.t.Error("it is not given up")
	})
}

// TestInvalid: what cannot be made is refused when it is asked for.
func TestInvalid(t *testing.T) {
	each(t, func(r *rig) {
		x := report.New(r.options())
		_, _, es := r.logger(r.owner, "", "1/level")
		for name, c := range map[string]func(*lh.ExportRequest){
			"format": func(q *lh.ExportRequest) { q.Format = "pdf" }, "zip": func(q *lh.ExportRequest) { q.Format = lh.ExportZIP },
			"layout": func(q *lh.ExportRequest) { q.Layout = "tall" }, "kind": func(q *lh.ExportRequest) { q.Kind = "all" },
			"consibio, not CSV":     func(q *lh.ExportRequest) { q.Layout, q.Format = lh.ExportConsibio, lh.ExportXLSX },
			"consibio, flags":       func(q *lh.ExportRequest) { q.Layout, q.Flags = lh.ExportConsibio, true },
			"zone":                  func(q *lh.ExportRequest) { q.Zone = "Mars/Olympus" },
			"range":                 func(q *lh.ExportRequest) { q.From, q.To = 10, 9 },
			"years":                 func(q *lh.ExportRequest) { q.To = lh.MaxMillis + 2 },
			"step":                  func(q *lh.ExportRequest) { q.Step = "PT7H" },
			"function":              func(q *lh.ExportRequest) { q.Step, q.Functions = "PT1H", []string{"mode"} },
			"functions alone":       func(q *lh.ExportRequest) { q.Functions = []string{"mean"} },
			"too many buckets":      func(q *lh.ExportRequest) { q.Step, q.From, q.To = "PT1S", 0, 2e9 },
			"twice":                 func(q *lh.ExportRequest) { q.Elements = []lh.ElementID{es[0].ID, es[0].ID} },
			"as of":                 func(q *lh.ExportRequest) { q.AsOf = -1 },
			"project with a layout": func(q *lh.ExportRequest) { q.Kind, q.Layout = lh.ExportProject, lh.ExportWide },
			"project with a format": func(q *lh.ExportRequest) { q.Kind, q.Format = lh.ExportProject, lh.ExportCSV },
			"project with elements": func(q *lh.ExportRequest) { q.Kind, q.Elements = lh.ExportProject, []lh.ElementID{es[0].ID} },
		} {
			q := lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"}
			c(&q)
			if _, err := x.Ask(ctx, r.owner, q, ""); lh.CodeOf(err) != lh.Invalid {
				r.t.Errorf("%s: %v", name, err)
			}
		}
		if es, err := r.db.Exports(ctx, r.owner); err != nil || len(es) != 0 {
			r.t.Errorf("what was refused is in line: %v %v", err, es)
		}
		for range report.MaxWideElements {
			if _, err := r.db.CreateElement(ctx, r.owner, lh.Element{Name: "x", Color: "#112233", Meaning: lh.Instantaneous}); err != nil {
				r.t.Fatal(err)
			}
		}
		q := lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"}
		if _, err := x.Ask(ctx, r.owner, q, ""); lh.CodeOf(err) != lh.Invalid || !strings.Contains(err.Error(), "long layout") {
			r.t.Errorf("too many columns: %v", err)
		}
		q.Layout = lh.ExportLong
		r.ask(x, r.owner, q)
	})
}

// TestSealed: of what is exported nothing readable is in the database, and it goes with its project.
func TestSealed(t *testing.T) {
	each(t, func(r *rig) {
		own, d, es := r.logger(r.owner, "", "1/secret_quantity")
		r.upload(own, d, es, start, 1000, []float64{31337.25})
		x, _ := r.run(r.options())
		e := r.wait(r.owner, r.ask(x, r.owner, smallRequest()).ID, lh.ExportReady)
		if b := r.read(x, r.owner, e); !bytes.Contains(b, []byte("secret_quantity")) || !bytes.Contains(b, []byte("31337.25")) {
			r.t.Fatalf("%s", b)
		}
		if r.db.Engine() == "postgres" {
			for _, v := range storetest.Dump(r.t, r.o.URL) {
				if strings.Contains(v, "secret_quantity") || strings.Contains(v, "31337.25") {
					r.t.Errorf("in the open: %.200q", v)
				}
			}
		}
		if err := r.db.DeleteProject(ctx, r.owner); err != nil {
			r.t.Fatal(err)
		}
		if _, err := r.db.ReadExportPart(ctx, r.owner, e, 0); lh.CodeOf(err) != lh.NotFound {
			r.t.Errorf("a destroyed project's export: %v", err)
		}
		if err := errors.Join(r.db.Sweep(ctx), r.db.SweepExports(ctx)); err != nil {
			r.t.Error(err)
		}
		if r.db.Engine() == "postgres" {
			for _, v := range storetest.Dump(r.t, r.o.URL) {
				if v == string(e.ID) {
					r.t.Error("a row of the export is left")
				}
			}
		}
	})
}

// TestSeek: a file is read from anywhere.
func TestSeek(t *testing.T) {
	each(t, func(r *rig) {
		q := r.large(r.owner)
		x, _ := r.run(r.options())
		e := r.wait(r.owner, r.ask(x, r.owner, q).ID, lh.ExportReady)
		all := r.read(x, r.owner, e)
		f, err := x.Open(ctx, r.owner, e)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, at := range []int64{0, 1, store.ExportPart - 1, store.ExportPart, store.ExportPart + 1, e.Size - 1, e.Size, 3*store.ExportPart - 5} {
			if _, err := f.Seek(at, io.SeekStart); err != nil {
				r.t.Fatal(err)
			}
			b := make([]byte, min(10, e.Size-at))
			if _, err := io.ReadFull(f, b); err != nil || !bytes.Equal(b, all[at:at+int64(len(b))]) {
				r.t.Errorf("at %d: %v", at, err)
			}
		}
		if n, err := f.Seek(-4, io.SeekEnd); err != nil || n != e.Size-4 {
			r.t.Error(n, err)
		}
		if _, err := f.Seek(-1, io.SeekStart); err == nil {
			r.t.Error("before the beginning")
		}
		if n, err := f.Seek(10, io.SeekEnd); err != nil || n != e.Size+10 {
			r.t.Error(n, err)
		}
		if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			r.t.Error(fmt.Sprint(n, err))
		}
	})
}
