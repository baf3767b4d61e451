package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

var ctx = context.Background()

func wantCode(t *testing.T, what string, err error, code lh.Code) {
	t.Helper()
	if lh.CodeOf(err) != code {
		t.Errorf("%s: got %v (%q), want code %q", what, err, lh.CodeOf(err), code)
	}
}

// TestForeignScopesSeeNothing calls every method that takes a Scope with the zero Scope, and every reading one with
// another project's: none may tell that anything is there.
func TestForeignScopesSeeNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mine, other := storetest.Project(t, db), storetest.Project(t, db)
		dev, own, els := storetest.DeviceScope(t, db, mine, "1/level")
		err := db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: dev.ID, Received: 1, Samples: 1, Body: []byte("x"),
			Latest: []lh.Latest{{Element: els[0].ID, Sample: lh.Sample{Time: 5, Value: 1, Flag: 1}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Fold(ctx, storetest.HubScope(mine.Project()), []store.Chunk{{Element: els[0].ID, Day: 3, Body: []byte("b"), Summary: []byte("s")}}, nil, nil); err != nil {
			t.Fatal(err)
		}
		l, err := db.CreateLocation(ctx, mine, lh.Location{Name: "Bridge"})
		if err != nil {
			t.Fatal(err)
		}
		// What is found by an id of mine is not found in the other project.
		_, err = db.Device(ctx, other, dev.ID)
		wantCode(t, "device", err, lh.NotFound)
		_, err = db.Element(ctx, other, els[0].ID)
		wantCode(t, "element", err, lh.NotFound)
		_, err = db.Location(ctx, other, l.ID)
		wantCode(t, "location", err, lh.NotFound)
		wantCode(t, "change device", db.ChangeDevice(ctx, other, lh.Device{ID: dev.ID, Name: "mine now"}), lh.NotFound)
		wantCode(t, "revoke device", db.RevokeDevice(ctx, other, dev.ID), lh.NotFound)
		wantCode(t, "change element", db.ChangeElement(ctx, other, lh.Element{ID: els[0].ID}), lh.NotFound)
		wantCode(t, "delete location", db.DeleteLocation(ctx, other, l.ID, ""), lh.NotFound)
		wantCode(t, "move device there", db.ChangeDevice(ctx, mine, lh.Device{ID: dev.ID, Location: lh.NewLocationID()}), lh.NotFound)
		_, err = db.ClaimDevice(ctx, other, dev.Serial, []byte("hash"), lh.Device{})
		wantCode(t, "claim", err, lh.Conflict)
		if ds, err := db.Devices(ctx, other); err != nil || len(ds) != 0 {
			t.Errorf("devices of the other project: %v, %v", ds, err)
		}
		if ls, err := db.Latest(ctx, other, []lh.ElementID{els[0].ID}); err != nil || len(ls) != 0 {
			t.Errorf("latest through the other project: %v, %v", ls, err)
		}
		if ls, err := db.Latest(ctx, mine, nil); err != nil || len(ls) != 1 {
			t.Errorf("latest of mine: %v, %v", ls, err)
		}
		if c, err := db.Chunk(ctx, other, els[0].ID, 3); err != nil || c.Gen != 0 {
			t.Errorf("chunk through the other project: %v, %v", c, err)
		}
		if err := db.Journal(ctx, other, dev.ID, func(store.JournalRow) error { return fmt.Errorf("a row") }); err != nil {
			t.Errorf("journal through the other project: %v", err)
		}
		wantCode(t, "append for another device", db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: lh.NewDeviceID()}}), lh.NotFound)

		// Every method that takes a Scope refuses the zero one.
		v := reflect.ValueOf(db)
		n := 0
		for i := range v.NumMethod() {
			m := v.Type().Method(i)
			args := []reflect.Value{v, reflect.ValueOf(ctx)}
			scoped := false
			for a := 2; a < m.Type.NumIn(); a++ {
				scoped = scoped || m.Type.In(a) == reflect.TypeFor[store.Scope]()
				args = append(args, reflect.Zero(m.Type.In(a)))
			}
			if !scoped {
				continue
			}
			n++
			out := m.Func.Call(args)
			err, _ := out[len(out)-1].Interface().(error)
			wantCode(t, "zero scope: "+m.Name, err, lh.NotFound)
		}
		if n < 25 {
			t.Errorf("only %d methods take a Scope", n)
		}
		wantCode(t, "zero scope in AppendJournal", db.AppendJournal(ctx, []store.JournalAppend{{}}), lh.NotFound)
	})
}

func TestRolesAndLocations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		owner := storetest.Project(t, db)
		as := func(r lh.Role, ls ...lh.LocationID) store.Scope {
			return store.NewScope(owner.Project(), r, owner.Actor(), ls...)
		}
		here, err := db.CreateLocation(ctx, as(lh.RoleEditor), lh.Location{Name: "Bridge", Zone: "Europe/Copenhagen", Latitude: 55.9, Longitude: 8.4})
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.CreateLocation(ctx, as(lh.RoleViewer), lh.Location{Name: "no"})
		wantCode(t, "viewer's location", err, lh.Forbidden)
		_, err = db.ChangeProject(ctx, as(lh.RoleEditor), func(p *lh.Project) error { p.Name = "no"; return nil })
		wantCode(t, "editor's project", err, lh.Forbidden)
		dev, own, els := storetest.DeviceScope(t, db, owner, "1/level", "1/temp")
		limited := as(lh.RoleEditor, here.ID)
		if ds, err := db.Devices(ctx, limited); err != nil || len(ds) != 0 {
			t.Errorf("a device elsewhere is seen: %v %v", ds, err)
		}
		_, err = db.Chunk(ctx, limited, els[0].ID, 0)
		wantCode(t, "series elsewhere", err, lh.NotFound)
		dev.Location, dev.Name = here.ID, "Bridge logger"
		if err := db.ChangeDevice(ctx, owner, dev); err != nil {
			t.Fatal(err)
		}
		if es, err := db.Elements(ctx, limited); err != nil || len(es) != 2 {
			t.Errorf("the elements did not follow their device: %v %v", es, err)
		}
		if _, err = db.Chunk(ctx, limited, els[0].ID, 0); err != nil {
			t.Error(err)
		}
		wantCode(t, "location with a device", db.DeleteLocation(ctx, owner, here.ID, ""), lh.Conflict)
		els[0].Name, els[0].Unit = "Stage", "m"
		if err := db.ChangeElement(ctx, limited, els[0]); err != nil {
			t.Fatal(err)
		}
		// A manifest said again keeps what people called it, and takes the interval from the device.
		all, err := db.BindElements(ctx, own, dev.ID, []lh.Element{{Channel: "1/level", Name: "raw name", Interval: 1000, Meaning: lh.PrecedingMean}})
		if err != nil || len(all) != 2 || all[0].Name != "Stage" || all[0].Interval != 1000 || all[0].Meaning != lh.PrecedingMean {
			t.Errorf("bound again: %+v %v", all, err)
		}
		many := make([]lh.Element, store.MaxDeviceElements)
		for i := range many {
			many[i].Channel = fmt.Sprint("x/", i)
		}
		_, err = db.BindElements(ctx, own, dev.ID, many)
		wantCode(t, "too many elements", err, lh.Exhausted)
		if es, err := db.Elements(ctx, owner); err != nil || len(es) != 2 {
			t.Errorf("a refused binding left %d elements: %v", len(es), err)
		}
	})
}

func TestMembersKeepAnOwner(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		owner := storetest.Project(t, db)
		me := lh.UserID(owner.Actor().ID)
		u, err := db.CreateUser(ctx, lh.User{Email: "Ana@Test.example", Name: "Ana"}, "hash")
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.CreateUser(ctx, lh.User{Email: "ana@test.example"}, "hash")
		wantCode(t, "same address in other case", err, lh.Conflict)
		if got, hash, err := db.UserByEmail(ctx, "ANA@test.example"); err != nil || got.ID != u.ID || hash != "hash" || got.Email != "Ana@Test.example" {
			t.Errorf("%+v %q %v", got, hash, err)
		}
		wantCode(t, "last owner leaves", db.RemoveMember(ctx, owner, me), lh.Conflict)
		wantCode(t, "last owner steps down", db.SetMember(ctx, owner, lh.Member{User: me, Role: lh.RoleViewer}), lh.Conflict)
		wantCode(t, "no such role", db.SetMember(ctx, owner, lh.Member{User: u.ID, Role: lh.RoleHub}), lh.Invalid)
		admin := store.NewScope(owner.Project(), lh.RoleAdministrator, owner.Actor())
		wantCode(t, "administrator makes an owner", db.SetMember(ctx, admin, lh.Member{User: u.ID, Role: lh.RoleOwner}), lh.Forbidden)
		if err := db.SetMember(ctx, admin, lh.Member{User: u.ID, Role: lh.RoleViewer}); err != nil {
			t.Fatal(err)
		}
		if m, err := db.Membership(ctx, u.ID, owner.Project()); err != nil || m.Role != lh.RoleViewer {
			t.Errorf("%+v %v", m, err)
		}
		if err := db.SetMember(ctx, owner, lh.Member{User: u.ID, Role: lh.RoleOwner}); err != nil {
			t.Fatal(err)
		}
		if err := db.RemoveMember(ctx, owner, me); err != nil {
			t.Fatal(err)
		}
		_, err = db.Membership(ctx, me, owner.Project())
		wantCode(t, "removed", err, lh.NotFound)
	})
}

func TestClaimEnrolRevoke(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc, other := storetest.Project(t, db), storetest.Project(t, db)
		hash := sha256.Sum256([]byte("code"))
		if err := db.AddInventory(ctx, []lh.Inventory{{Serial: "LH-1", Hardware: "lh-sim-1", ClaimHash: hash[:]}}); err != nil {
			t.Fatal(err)
		}
		_, err := db.ClaimDevice(ctx, sc, "LH-1", []byte("guess"), lh.Device{})
		wantCode(t, "wrong code", err, lh.Invalid)
		_, err2 := db.ClaimDevice(ctx, sc, "LH-2", hash[:], lh.Device{})
		if err2 == nil || err.Error() != err2.Error() {
			t.Errorf("an unlisted serial reads unlike a wrong code: %v, %v", err, err2)
		}
		d, err := db.ClaimDevice(ctx, sc, "LH-1", hash[:], lh.Device{Name: "One", MaxOffline: 60})
		if err != nil || d.State != lh.DeviceClaimed || d.Hardware != "lh-sim-1" {
			t.Fatalf("%+v %v", d, err)
		}
		_, err = db.ClaimDevice(ctx, other, "LH-1", hash[:], lh.Device{})
		wantCode(t, "claimed by another project", err, lh.Conflict)
		own := store.NewScope(sc.Project(), lh.RoleDevice, lh.Actor{Kind: lh.ActorDevice, ID: string(d.ID)})
		c := store.Certificate{KeyHash: [32]byte{1}, Device: d.ID, Serial: "01", NotAfter: 1}
		for range 2 { // the first answer got lost: the same key asks again
			if err := db.AddCertificate(ctx, own, "LH-1", hash[:], c); err != nil {
				t.Fatal(err)
			}
		}
		_, err = db.ClaimDevice(ctx, sc, "LH-1", hash[:], lh.Device{})
		wantCode(t, "claim with a used code", err, lh.Conflict)
		c.KeyHash = [32]byte{2}
		wantCode(t, "code used twice", db.AddCertificate(ctx, own, "LH-1", hash[:], c), lh.Unauthenticated)
		_, err = db.Certificate(ctx, c.KeyHash)
		wantCode(t, "certificate of the refused enrolment", err, lh.NotFound)
		if err := db.AddCertificate(ctx, own, "LH-1", nil, c); err != nil { // renewal
			t.Fatal(err)
		}
		if got, err := db.Certificate(ctx, [32]byte{1}); err != nil || got.Device != d.ID || got.State != lh.DeviceEnrolled || got.Revoked != 0 {
			t.Errorf("%+v %v", got, err)
		}
		if err := db.RevokeDevice(ctx, sc, d.ID); err != nil {
			t.Fatal(err)
		}
		c.KeyHash = [32]byte{1}
		wantCode(t, "a revoked device's old key", db.AddCertificate(ctx, own, "LH-1", nil, c), lh.Forbidden)
		for _, k := range []byte{1, 2} {
			if got, err := db.Certificate(ctx, [32]byte{k}); err != nil || got.State != lh.DeviceRevoked || got.Revoked == 0 {
				t.Errorf("key %d after revocation: %+v %v", k, got, err)
			}
		}
		c.KeyHash = [32]byte{3}
		wantCode(t, "renewal of a revoked device", db.AddCertificate(ctx, own, "LH-1", nil, c), lh.Forbidden)
		// A new code and a new claim let it back in, as the same device, with its old certificates still barred.
		again := sha256.Sum256([]byte("new code"))
		if err := db.AddInventory(ctx, []lh.Inventory{{Serial: "LH-1", Hardware: "lh-sim-1", ClaimHash: again[:]}}); err != nil {
			t.Fatal(err)
		}
		back, err := db.ClaimDevice(ctx, sc, "LH-1", again[:], lh.Device{Name: "One again", MaxOffline: 60})
		if err != nil || back.ID != d.ID || back.State != lh.DeviceClaimed {
			t.Errorf("%+v %v", back, err)
		}
		c.KeyHash = [32]byte{1}
		wantCode(t, "a revoked key again", db.AddCertificate(ctx, own, "LH-1", again[:], c), lh.Conflict)
		c.KeyHash = [32]byte{4}
		if err := db.AddCertificate(ctx, own, "LH-1", again[:], c); err != nil {
			t.Error(err)
		}
		if got, err := db.Certificate(ctx, [32]byte{1}); err != nil || got.Revoked == 0 {
			t.Errorf("an old certificate lives again: %+v %v", got, err)
		}
		off := int64(-3600000)
		if err := db.TouchDevice(ctx, own, d.ID, store.DeviceSeen{At: 100, ClockOffset: &off, ClockSuspect: 3}); err != nil {
			t.Fatal(err)
		}
		if err := db.TouchDevice(ctx, own, d.ID, store.DeviceSeen{At: 50, ClockSuspect: 2}); err != nil {
			t.Fatal(err)
		}
		if err := db.SetFirmware(ctx, own, d.ID, "1.2.3"); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Device(ctx, sc, d.ID); err != nil || got.LastSeen != 100 || got.ClockOffset != off || got.ClockSuspect != 5 || got.Firmware != "1.2.3" {
			t.Errorf("%+v %v", got, err)
		}
	})
}

func TestLogEpochsOnlyGrow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		d, own, _ := storetest.DeviceScope(t, db, sc)
		epoch := func(log uint64, now lh.Millis) uint32 {
			e, err := db.LogEpoch(ctx, own, d.ID, log, now)
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		a := epoch(7, 5000_000)
		if a != 5000 || epoch(7, 9000_000) != a {
			t.Errorf("the epoch of a log moved")
		}
		if b := epoch(8, 1000_000); b != a+1 { // the hub's clock went back
			t.Errorf("a newer log has epoch %d, the older %d", b, a)
		}
		var wg sync.WaitGroup
		got := make([]uint32, 8)
		for i := range got {
			wg.Go(func() {
				e, err := db.LogEpoch(ctx, own, d.ID, uint64(100+i/2), 6000_000)
				if err != nil {
					t.Error(err)
				}
				got[i] = e
			})
		}
		wg.Wait()
		seen := map[uint32]bool{}
		for i := 0; i < len(got); i += 2 {
			if got[i] != got[i+1] || seen[got[i]] {
				t.Errorf("epochs %v", got)
			}
			seen[got[i]] = true
		}
	})
}

func TestLatestIsNewestByTimeThenRank(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		d, own, els := storetest.DeviceScope(t, db, sc, "a", "b")
		put := func(ss ...lh.Sample) {
			var ls []lh.Latest
			for _, s := range ss {
				ls = append(ls, lh.Latest{Element: els[0].ID, Sample: s, Received: 9})
			}
			if err := db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: d.ID, Received: 9, Samples: len(ss), Body: []byte("x"), Latest: ls}}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(value float64) {
			t.Helper()
			ls, err := db.Latest(ctx, sc, []lh.ElementID{els[0].ID, els[1].ID})
			if err != nil || len(ls) != 1 || ls[0].Sample.Value != value {
				t.Errorf("latest is %+v (%v), want %g", ls, err, value)
			}
		}
		high := lh.RankOf(1<<31+5, 1) // after 2038 the rank's top bit is set
		put(lh.Sample{Time: 100, Value: 1, Flag: 1, Rank: lh.RankOf(10, 5)}, lh.Sample{Time: 50, Value: 2, Flag: 1, Rank: lh.RankOf(10, 6)})
		check(1)
		put(lh.Sample{Time: 99, Value: 3, Flag: 1, Rank: high})
		check(1)
		put(lh.Sample{Time: 100, Value: 4, Flag: 1, Rank: lh.RankOf(10, 4)})
		check(1)
		put(lh.Sample{Time: 100, Value: 5, Flag: 3, Rank: high})
		check(5)
		put(lh.Sample{Time: 100, Value: 6, Flag: 1, Rank: lh.RankOf(11, 0)})
		check(5)
		put(lh.Sample{Time: -62135596800000, Value: 7, Flag: 1})
		check(5)
	})
}

func TestFoldIsAllOrNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		hub := storetest.HubScope(sc.Project())
		var els []lh.Element
		var devices []lh.DeviceID
		for range 3 {
			d, own, es := storetest.DeviceScope(t, db, sc, "a")
			els, devices = append(els, es...), append(devices, d.ID)
			for i := range 4 {
				body := bytes.Repeat([]byte{byte(i)}, 100)
				if err := db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: d.ID, Received: lh.Millis(i), Samples: 1, Body: body}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		bs, err := db.JournalBacklog(ctx)
		if err != nil || len(bs) != 1 || bs[0].Rows != 12 || bs[0].Samples != 12 || bs[0].Bytes < 1200 || bs[0].Oldest != 0 {
			t.Fatalf("backlog %+v, %v", bs, err)
		}
		rows, folded, more, err := db.Unfolded(ctx, hub, devices[0], 460, nil)
		if err != nil || len(rows) != 2 || rows[0].Body[0] != 0 || folded != 0 || !more {
			t.Fatalf("%d rows, folded up to %d, more: %v; %v", len(rows), folded, more, err)
		}
		// Those that are stuck hold up nobody.
		rest, _, more, err := db.Unfolded(ctx, hub, devices[0], 1<<20, map[store.JournalID]bool{rows[0].ID: true, rows[1].ID: true})
		if err != nil || len(rest) != 2 || rest[0].Body[0] != 2 || more {
			t.Fatalf("%d rows behind those, more: %v; %v", len(rest), more, err)
		}
		size := rows[0].Size
		fold := func(d int, from, to int64) []store.DeviceFold {
			return []store.DeviceFold{{Device: devices[d], From: from, To: to, Rows: to - from, Bytes: (to - from) * size, Samples: to - from}}
		}
		chunk := func(e int, gen int64, body string) store.Chunk {
			return store.Chunk{Element: els[e].ID, Day: -1, Gen: gen, Body: []byte(body), Summary: []byte("s" + body)}
		}
		if err := db.Fold(ctx, hub, []store.Chunk{chunk(0, 0, "one")}, fold(0, 0, 2), nil); err != nil {
			t.Fatal(err)
		}
		both := slices.Concat(fold(1, 0, 4), fold(0, 1, 3))
		wantCode(t, "rows folded already", db.Fold(ctx, hub, []store.Chunk{chunk(1, 0, "two")}, both, nil), lh.Conflict)
		wantCode(t, "chunk moved on", db.Fold(ctx, hub, []store.Chunk{chunk(1, 0, "two"), chunk(0, 0, "x")}, fold(1, 0, 4), nil), lh.Conflict)
		if c, err := db.Chunk(ctx, sc, els[1].ID, -1); err != nil || c.Gen != 0 {
			t.Errorf("a refused fold left a chunk: %+v %v", c, err)
		}
		if rows, folded, _, err := db.Unfolded(ctx, hub, devices[1], 1<<20, nil); err != nil || len(rows) != 4 || folded != 0 {
			t.Errorf("a refused fold took rows: %d are left, folded up to %d; %v", len(rows), folded, err)
		}
		// One row of the next fold is held, and taken by a later one.
		held := fold(0, 2, 4)
		held[0].Rows, held[0].Bytes, held[0].Samples, held[0].Held = 1, size, 1, []int64{3}
		if err := db.Fold(ctx, hub, []store.Chunk{chunk(0, 1, "three")}, slices.Concat(held, fold(1, 0, 4), fold(2, 0, 4)), nil); err != nil {
			t.Fatal(err)
		}
		for range 2 { // purging takes none that is held
			if rows, folded, _, err := db.Unfolded(ctx, hub, devices[0], 1<<20, nil); err != nil || len(rows) != 1 || !rows[0].Held || rows[0].Body[0] != 2 || folded != 4 {
				t.Errorf("held: %+v, folded up to %d; %v", rows, folded, err)
			}
			if bs, err := db.JournalBacklog(ctx); err != nil || len(bs) != 1 || bs[0].Rows != 1 || bs[0].Bytes != size {
				t.Errorf("with one held: %+v %v", bs, err)
			}
			if err := db.Purge(ctx); err != nil {
				t.Fatal(err)
			}
		}
		done := []store.DeviceFold{{Device: devices[0], From: 4, To: 4, Rows: 1, Bytes: size, Samples: 1, Done: []int64{3}}}
		if err := db.Fold(ctx, hub, nil, done, nil); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "taken already", db.Fold(ctx, hub, nil, done, nil), lh.Conflict)
		if c, err := db.Chunk(ctx, sc, els[0].ID, -1); err != nil || c.Gen != 2 || string(c.Body) != "three" {
			t.Errorf("%+v %v", c, err)
		}
		if c, err := db.WholeChunk(ctx, sc, els[0].ID, -1); err != nil || string(c.Summary) != "sthree" || string(c.Body) != "three" {
			t.Errorf("%+v %v", c, err)
		}
		if bs, err := db.JournalBacklog(ctx); err != nil || len(bs) != 0 {
			t.Errorf("left over: %+v %v", bs, err)
		}
	})
}

// TestNothingReadableIsStored looks for what people and devices wrote in the raw bytes the engines hold.
func TestNothingReadableIsStored(t *testing.T) {
	secrets := []string{"Skjern", "Bridge over", "ana@secret.example", "Ana Olsen", "1/secret_channel", "LH-SECRET-1", "argon2id-hash", "measured-sample-bytes", "issuing-key"}
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		db := storetest.Open(t, o)
		sc := storetest.Project(t, db)
		if _, err := db.CreateUser(ctx, lh.User{Email: "ana@secret.example", Name: "Ana Olsen"}, "argon2id-hash"); err != nil {
			t.Fatal(err)
		}
		if _, err := db.CreateLocation(ctx, sc, lh.Location{Name: "Bridge over the river"}); err != nil {
			t.Fatal(err)
		}
		if err := db.AddInventory(ctx, []lh.Inventory{{Serial: "LH-SECRET-1", ClaimHash: []byte("h")}}); err != nil {
			t.Fatal(err)
		}
		d, own, els := storetest.DeviceScope(t, db, sc, "1/secret_channel")
		if err := db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: d.ID, Body: []byte("measured-sample-bytes")}}); err != nil {
			t.Fatal(err)
		}
		if err := db.Fold(ctx, storetest.HubScope(sc.Project()), []store.Chunk{{Element: els[0].ID, Body: []byte("measured-sample-bytes"), Summary: []byte("measured-sample-bytes")}}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.SetSetting(ctx, "ca", []byte("issuing-key")); err != nil {
			t.Fatal(err)
		}
		if v, err := db.Setting(ctx, "ca"); err != nil || string(v) != "issuing-key" {
			t.Fatalf("%q %v", v, err)
		}
		var dump bytes.Buffer
		if path, ok := strings.CutPrefix(o.URL, "sqlite:"); ok {
			files, err := filepath.Glob(path + "*")
			if err != nil || len(files) < 2 {
				t.Fatalf("%v %v", files, err)
			}
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.HasSuffix(f, "-shm") && (bytes.Contains(b, []byte("SQLite format")) || bytes.Contains(b, []byte(sc.Project()))) {
					t.Errorf("%s is not encrypted", f)
				}
				dump.Write(b)
			}
		} else {
			raw, err := sql.Open("pgx", o.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			for _, table := range []string{"users", "project", "location", "device", "element", "inventory", "journal", "intake", "chunk", "latest", "audit", "setting", "owner_key", "session", "member", "device_certificate"} {
				rows, err := raw.Query(`SELECT * FROM ` + table)
				if err != nil {
					t.Fatal(err)
				}
				cols, err := rows.Columns()
				if err != nil {
					t.Fatal(err)
				}
				for rows.Next() {
					vals := make([]any, len(cols))
					for i := range vals {
						vals[i] = new(any)
					}
					if err := rows.Scan(vals...); err != nil {
						t.Fatal(err)
					}
					for _, v := range vals {
						fmt.Fprintf(&dump, "%s ", *v.(*any))
					}
				}
				if err := rows.Err(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Contains(dump.Bytes(), []byte(sc.Project())) {
				t.Fatal("the dump is empty")
			}
		}
		for _, s := range secrets {
			if bytes.Contains(dump.Bytes(), []byte(s)) {
				t.Errorf("%q can be read in the database", s)
			}
		}
	})
}

func TestAnotherMasterKeyIsRefused(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		db, err := store.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Check(ctx, "hub-a"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		right := o.Master
		if o.Master, err = seal.NewMaster(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(ctx, o); err == nil || !strings.Contains(err.Error(), "master key") {
			t.Errorf("opened with another master key: %v", err)
		}
		o.Master = right
		storetest.Open(t, o)
	})
}

func TestOpenRefusesWhatIsUnsafe(t *testing.T) {
	m, err := seal.NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	for u, want := range map[string]string{
		"postgres://u:hunter2@db.example/x?sslmode=disable": "verify-full",
		"postgres://u:hunter2@db.example/x?sslmode=prefer":  "verify-full",
		"postgres://u:hunter2@db.example/x?sslmode=require": "verify-full",
		"postgres://u:hunter2@db.example:x/x":               "cannot be read",
		"mysql://x":                                         "neither",
		"sqlite:":                                           "path",
		"sqlite:/does/not/exist/hub.db":                     "folder",
	} {
		_, err := store.Open(ctx, store.Options{URL: u, Master: m})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", u, err)
		}
	}
}
