package store_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func numbers(t *testing.T, db *store.DB, sc store.Scope, after int64, f store.AuditFilter) []int64 {
	t.Helper()
	var ns []int64
	if err := db.Audit(ctx, sc, after, 100, f, func(e lh.AuditEvent) error { ns = append(ns, e.Number); return nil }); err != nil {
		t.Fatal(err)
	}
	return ns
}

// TestAuditTrailIsChained: whatever of the trail is altered, taken out or cut off is found and named.
func TestAuditTrailIsChained(t *testing.T) {
	for _, damage := range []struct {
		do   []string
		want string // in the error; "" is none
	}{
		{},
		{[]string{`UPDATE audit SET actor_id = 'somebody else' WHERE project_id = $1 AND number = 5`}, "event 5: it does not follow"},
		{[]string{`UPDATE audit SET time = time + 1 WHERE project_id = $1 AND number = 9`}, "event 9: it does not follow"},
		{[]string{`UPDATE audit SET origin = (SELECT origin FROM audit b WHERE b.project_id = $1 AND b.number = 3) WHERE project_id = $1 AND number = 4`}, "event 4"},
		{[]string{`UPDATE audit SET detail = (SELECT detail FROM audit b WHERE b.project_id = $1 AND b.number = 3) WHERE project_id = $1 AND number = 4`}, "event 4"},
		{[]string{`DELETE FROM audit WHERE project_id = $1 AND number = 3`}, "event 3: it is missing"},
		{[]string{`DELETE FROM audit WHERE project_id = $1 AND number = 1`}, "event 1: it is missing"},
		{[]string{`DELETE FROM audit WHERE project_id = $1 AND number > 6`}, "event 7: it is missing"},
		{[]string{`DELETE FROM audit WHERE project_id = $1`}, "event 1: it is missing"},
		{[]string{`DELETE FROM audit WHERE project_id = $1 AND number > 6`, `UPDATE project SET audit_number = 6 WHERE id = $1`}, "event 6: it is not the one"},
	} {
		t.Run(strings.Join(append(damage.do, "_"), ";"), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				owner := storetest.Project(t, db)
				from := netip.MustParseAddr("192.0.2.7")
				sc := store.NewScope(owner.Project(), lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: owner.Actor().ID, From: from})
				var wg sync.WaitGroup
				for i := range 8 {
					wg.Go(func() {
						if _, err := db.CreateLocation(ctx, sc, lh.Location{Name: fmt.Sprint("L", i)}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				for _, d := range damage.do {
					if err := db.Exec(ctx, d, sc.Project()); err != nil {
						t.Fatal(err)
					}
				}
				n, err := db.VerifyAudit(ctx, storetest.HubScope(sc.Project()))
				if damage.want == "" && (err != nil || n != 9) {
					t.Errorf("%d events, %v", n, err)
				}
				if damage.want != "" && (err == nil || !strings.Contains(err.Error(), damage.want)) {
					t.Errorf("found %v, want %q", err, damage.want)
				}
				if damage.want == "" {
					err := db.Audit(ctx, sc, 1, 100, store.AuditFilter{}, func(e lh.AuditEvent) error {
						if e.Actor.From != from {
							t.Errorf("event %d comes from %v", e.Number, e.Actor.From)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

func TestAuditIsFiltered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l, err := db.CreateLocation(ctx, sc, lh.Location{Name: "Weir"})
		if err != nil {
			t.Fatal(err)
		}
		other := store.NewScope(sc.Project(), lh.RoleEditor, lh.Actor{Kind: lh.ActorService, ID: "svc_1"})
		e, err := db.CreateElement(ctx, other, lh.Element{Name: "Level", Unit: "m"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			after int64
			f     store.AuditFilter
			want  []int64
		}{
			{"all", 0, store.AuditFilter{}, []int64{1, 2, 3}},
			{"newest first", 0, store.AuditFilter{Newest: true}, []int64{3, 2, 1}},
			{"newest before 3", 3, store.AuditFilter{Newest: true}, []int64{2, 1}},
			{"after 1", 1, store.AuditFilter{}, []int64{2, 3}},
			{"by whom", 0, store.AuditFilter{Actor: "svc_1"}, []int64{3}},
			{"on what", 0, store.AuditFilter{Subject: string(l.ID)}, []int64{2}},
			{"on what else", 0, store.AuditFilter{Subject: string(e.ID)}, []int64{3}},
			{"one action", 0, store.AuditFilter{Action: "location.create"}, []int64{2}},
			{"a kind", 0, store.AuditFilter{Action: "location"}, []int64{2}},
			{"half a word is no kind", 0, store.AuditFilter{Action: "loc"}, nil},
			{"a pattern is none", 0, store.AuditFilter{Action: "%"}, nil},
			{"before all", 0, store.AuditFilter{To: 1}, nil},
			{"after all", 0, store.AuditFilter{From: lh.MaxMillis}, nil},
		} {
			if got := numbers(t, db, sc, c.after, c.f); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
		wantCode(t, "an event that is not there", db.Audit(ctx, sc, 99, 1, store.AuditFilter{}, nil), lh.NotFound)
		wantCode(t, "an editor", db.Audit(ctx, other, 0, 1, store.AuditFilter{}, nil), lh.Forbidden)
		wantCode(t, "nobody", db.Audit(ctx, store.Scope{}, 0, 1, store.AuditFilter{}, nil), lh.NotFound)
	})
}

// TestOldAuditEvents: a trail that was begun before events told where they came from is read and checked to its beginning.
func TestOldAuditEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		seed := sha256.Sum256([]byte("loggerhead audit " + string(sc.Project())))
		var first lh.AuditEvent
		if err := db.Audit(ctx, sc, 0, 1, store.AuditFilter{}, func(e lh.AuditEvent) error { first = e; return nil }); err != nil {
			t.Fatal(err)
		}
		first.Hash, first.Actor.From = seed[:], netip.Addr{}
		b, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		old := sha256.Sum256(b)
		for _, q := range []string{`UPDATE audit SET format = 0, hash = $2 WHERE project_id = $1`, `UPDATE project SET audit_hash = $2 WHERE id = $1`} {
			if err := db.Exec(ctx, q, sc.Project(), old[:]); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.CreateLocation(ctx, sc, lh.Location{Name: "Weir"}); err != nil {
			t.Fatal(err)
		}
		if n, err := db.VerifyAudit(ctx, storetest.HubScope(sc.Project())); n != 2 || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
		if err := db.Exec(ctx, `UPDATE audit SET subject = 'x' WHERE project_id = $1 AND number = 1`, sc.Project()); err != nil {
			t.Fatal(err)
		}
		if _, err := db.VerifyAudit(ctx, storetest.HubScope(sc.Project())); err == nil || !strings.Contains(err.Error(), "event 1") {
			t.Errorf("an altered old event: %v", err)
		}
	})
}

// TestAccountAudit: what concerns accounts stands in the installation's own trail, which is chained alike.
func TestAccountAudit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if n, err := db.VerifyAccountAudit(ctx); n != 0 || err != nil {
			t.Fatalf("at first %d events, %v", n, err)
		}
		for i := range 3 {
			if _, err := db.CreateUser(ctx, lh.User{Email: fmt.Sprintf("p%d@example.org", i), Name: "P"}, "hash"); err != nil {
				t.Fatal(err)
			}
		}
		n, err := db.VerifyAccountAudit(ctx)
		if n < 3 || err != nil {
			t.Fatalf("%d events for three accounts, %v", n, err)
		}
		if err := db.Exec(ctx, `DELETE FROM audit WHERE project_id = $1 AND number = $2`, "installation", n); err != nil {
			t.Fatal(err)
		}
		if _, err := db.VerifyAccountAudit(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("event %d: it is missing", n)) {
			t.Errorf("the last event is gone: %v", err)
		}
	})
}

// TestAuditTellsBeforeAndAfter: a change tells what was, also when two change the same at once.
func TestAuditTellsBeforeAndAfter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		d, _, es := storetest.DeviceScope(t, db, sc, "1/level")
		l, err := db.CreateLocation(ctx, sc, lh.Location{Name: "0"})
		if err != nil {
			t.Fatal(err)
		}
		const changes = 8
		var wg sync.WaitGroup
		for i := range changes {
			wg.Go(func() {
				l, d, e := l, d, es[0]
				l.Name, d.Name, e.Name = fmt.Sprint(i), fmt.Sprint(i), fmt.Sprint(i)
				for _, err := range []error{db.ChangeLocation(ctx, sc, l), db.ChangeDevice(ctx, sc, d), db.ChangeElement(ctx, sc, e)} {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		type named struct{ Name string }
		last := map[string]string{string(l.ID): "0", string(d.ID): d.Name, string(es[0].ID): es[0].Name}
		n := 0
		err = db.Audit(ctx, sc, 0, 1000, store.AuditFilter{}, func(e lh.AuditEvent) error {
			if !strings.HasSuffix(e.Action, ".change") {
				return nil
			}
			var detail struct{ Before, After *named }
			if err := json.Unmarshal([]byte(e.Detail), &detail); err != nil || detail.Before == nil || detail.After == nil {
				t.Fatalf("%s tells %s", e.Action, e.Detail)
			}
			if detail.Before.Name != last[e.Subject] {
				t.Errorf("%s: before it was %q, not %q", e.Action, last[e.Subject], detail.Before.Name)
			}
			last[e.Subject] = detail.After.Name
			n++
			return nil
		})
		if err != nil || n != 3*changes {
			t.Errorf("%d changes, %v", n, err)
		}
	})
}
