package store

import (
	"fmt"
	"math"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestChunkPlace: what chunks are bound to is built apart, and is the same.
func TestChunkPlace(t *testing.T) {
	for _, day := range []int32{0, -1, 20000, math.MinInt32} {
		if got, want := chunkPlace("prj_a", "elm_b", day, "body"), place("chunk", lh.ProjectID("prj_a"), lh.ElementID("elm_b"), day, "body"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPlaceStays holds the form that everything sealed so far is bound to.
func TestPlaceStays(t *testing.T) {
	for _, parts := range [][]any{
		{"chunk", lh.NewProjectID(), lh.NewElementID(), int32(-7), "body"},
		{"journal", lh.NewProjectID(), lh.NewDeviceID(), "00ff"},
		{"latest", lh.NewProjectID(), lh.NewElementID(), lh.Millis(-1700000000000)},
		{"audit", lh.ProjectID(""), int64(12)}, {"location", lh.NewProjectID(), lh.NewLocationID()}, {"setting", ""},
	} {
		if got, want := place(parts...), strings.TrimSuffix(fmt.Sprintln(parts...), "\n"); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
