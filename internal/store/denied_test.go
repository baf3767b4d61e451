package store_test

import (
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func TestDenied(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		now := lh.Millis(1_700_000_000_000)
		o.Now = func() time.Time { return now.Time() }
		db := storetest.Open(t, o)
		sc := storetest.Project(t, db)
		revoke := func(key byte, at lh.Millis) lh.DeviceID {
			d, own, _ := storetest.DeviceScope(t, db, sc)
			if err := db.AddCertificate(ctx, own, d.Serial, nil, store.Certificate{KeyHash: [32]byte{key}, Device: d.ID, Serial: "01", NotAfter: 1_700_000_100_000}); err != nil {
				t.Fatal(err)
			}
			if at == 0 {
				return d.ID
			}
			now = at
			if err := db.RevokeDevice(ctx, sc, d.ID); err != nil {
				t.Fatal(err)
			}
			return d.ID
		}
		one, two := revoke(1, 1_700_000_001_000), revoke(2, 1_700_000_002_000)
		revoke(3, 0)
		check := func(what string, since lh.Millis, want ...store.Denied) {
			t.Helper()
			got, err := db.Denied(ctx, since)
			slices.SortFunc(got, func(a, b store.Denied) int { return int(a.KeyHash[0]) - int(b.KeyHash[0]) })
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
			}
		}
		all := []store.Denied{{KeyHash: [32]byte{1}, Device: one}, {KeyHash: [32]byte{2}, Device: two}}
		check("all", 0, all...)
		check("since the first", 1_700_000_001_000, all...)
		check("since the second", 1_700_000_001_001, all[1])
		check("since later", 1_700_000_002_001)
		now = 1_700_000_100_000
		check("expired", 0)
	})
}
