package store_test

import (
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// The key of a project that one hub destroys is soon forgotten by the others, which take nothing more in for it.
func TestDestroyedKeysAreForgottenEverywhere(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		a, b := storetest.Open(t, o), storetest.Open(t, o)
		b.KeepKeys(0)
		sc := storetest.Project(t, a)
		d, own, els := storetest.DeviceScope(t, a, sc, "a")
		row := store.JournalAppend{Scope: own, Device: d.ID, Samples: 1, Body: []byte("x"), Latest: []lh.Latest{{Element: els[0].ID, Sample: lh.Sample{Time: 1, Flag: 1}}}}
		if err := b.AppendJournal(ctx, []store.JournalAppend{row}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Elements(ctx, sc); err != nil {
			t.Fatal(err)
		}
		if err := a.DeleteProject(ctx, sc); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "an upload to a destroyed project at another hub", b.AppendJournal(ctx, []store.JournalAppend{row}), lh.NotFound)
		_, err := b.Elements(ctx, sc)
		wantCode(t, "reading it there", err, lh.NotFound)
		_, err = b.Chunk(ctx, sc, els[0].ID, 0)
		wantCode(t, "reading a chunk there", err, lh.NotFound)
	})
}
