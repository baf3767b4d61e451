package series

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestEveryJournalVersionIsRead decodes the row that each version of the format has left, and writes the newest anew.
func TestEveryJournalVersionIsRead(t *testing.T) {
	batch := &wire.Batch{Log: 0x0123456789abcdef, First: 7, Sent: 1700000060000, Channels: []string{"1/water_level"},
		Records: []wire.Record{{Time: 1700000000000, Values: []wire.Value{{Flag: lh.FlagGood, Value: 1.25}}}}}
	raw, err := batch.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Upload{Epoch: 1700000000, Sequence: 7, Received: 1700000060123, NotBefore: 1e12, NotAfter: 1700000180123,
		Elements: []lh.ElementID{"elm_0123456789abcdef"}, Raw: raw, Batch: batch}
	path := filepath.Join("testdata", "journal-1.bin")
	if *update {
		if err := os.WriteFile(path, encodeJournal(&want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var u Upload
	if err := decodeJournal(&u, new(wire.Batch), body); err != nil {
		t.Fatal(err)
	}
	if u.Received != want.Received || u.NotBefore != want.NotBefore || u.NotAfter != want.NotAfter || !slices.Equal(u.Elements, want.Elements) || !bytes.Equal(u.Raw, raw) {
		t.Errorf("%+v", u)
	}
	var got []lh.Sample
	u.Each(func(_ uint16, s lh.Sample) { got = append(got, s) })
	if want := []lh.Sample{{Time: 1700000000000, Value: 1.25, Flag: 1, Rank: lh.RankOf(1700000000, 7)}}; !bitsEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if again := encodeJournal(&u); !bytes.Equal(again, body) {
		t.Errorf("written anew: %x, the file has %x", again, body)
	}
}
