package series

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var hexColumn = regexp.MustCompile(`^(?:[0-9a-f]{2} {1,2})*[0-9a-f]{2}(?:$| {3,})`)

// documented returns the bytes of the example on a page of docs/format: what stands in front of the words of each line.
func documented(t *testing.T, page string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "format", page))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n```hex\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatalf("%s has no example", page)
	}
	var out []byte
	for line := range strings.Lines(example) {
		column := hexColumn.FindString(strings.TrimRight(line, "\n"))
		got, err := hex.DecodeString(strings.ReplaceAll(column, " ", ""))
		if err != nil || len(got) == 0 {
			t.Fatalf("%s: a line of the example has no bytes: %q", page, line)
		}
		out = append(out, got...)
	}
	return out
}

// TestDocumentedExamples holds the examples of docs/format to the files that the format has left, and to the decoders.
func TestDocumentedExamples(t *testing.T) {
	for page, file := range map[string]string{"chunk.md": "chunk-1-decimal.bin", "summary.md": "summary-1.bin"} {
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if got := documented(t, page); !bytes.Equal(got, want) {
			t.Errorf("%s:\n%x, the file is\n%x", page, got, want)
		}
	}
	body := documented(t, "journal.md")
	var u Upload
	if err := decodeJournal(&u, new(wire.Batch), body); err != nil {
		t.Fatal(err)
	}
	if u.Received != 1700000060123 || u.NotBefore != 1e12 || u.NotAfter != 1700000660123 || !slices.Equal(u.Elements, []lh.ElementID{"elm_0123456789abcdef"}) {
		t.Errorf("%+v", u)
	}
	var got []lh.Sample
	u.Each(func(c uint16, s lh.Sample) { got = append(got, s) })
	if want := []lh.Sample{{Time: 1700000000000, Value: 1.25, Flag: 1, Rank: lh.RankOf(1700000000, 7)}}; !bitsEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if again := encodeJournal(&u); !bytes.Equal(again, body) {
		t.Errorf("journal.md:\n%x, written anew\n%x", body, again)
	}
}
