package calc_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// TestUnits: units are written as people write them, the same as in the web app.
func TestUnits(t *testing.T) {
	src, err := os.ReadFile("../../web/src/lib/units.ts")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	table, _, _ := strings.Cut(string(src), "};")
	for _, m := range regexp.MustCompile(`(?:'([^']+)'|(\w+)): '([^']+)'`).FindAllStringSubmatch(table, -1) {
		code := m[1] + m[2]
		if n++; calc.UnitText(code) != m[3] {
			t.Errorf("%s: %q, in the web app %q", code, calc.UnitText(code), m[3])
		}
	}
	if n < 30 {
		t.Errorf("only %d units were read from the web app's table", n)
	}
	for code, want := range map[string]string{"": "", "1": "", "{drops}": "drops", "foo/bar": "foo/bar"} {
		if got := calc.UnitText(code); got != want {
			t.Errorf("%q: %q", code, got)
		}
	}
}
