package loggerhead_test

import (
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

func TestValidUnit(t *testing.T) {
	for _, good := range []string{"m", "Cel", "[degF]", "m3/s", "[cft_i]/s", "mm[Hg]", "uS/cm", "1", "%", "10*3/uL", "10^-2", "kg.m-1.s-2", "/m", "m/(s.kg)",
		"{score}", "mg{CaCO3}/L", "L/min/{1.73_m2}", "deg", "''", "[in_i'Hg]", "m+2", "(m)/((s))"} {
		if !lh.ValidUnit(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", " m", "m s", "m//s", "m/", "()", "(m", "m)", "m-", "[", "[]", "[a", "a]", "{", "{a", "{a b}", "m{", "°C", "m²", "m\x00",
		strings.Repeat("(", 9) + "m" + strings.Repeat(")", 9), strings.Repeat("m", 33), ".m", "-2", "+"} {
		if lh.ValidUnit(bad) {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestProjectSettings(t *testing.T) {
	good := lh.Project{Name: "Skjern Å", Language: "en-GB", Retention: 30, Units: lh.Units{System: "us", Quantities: map[string]string{"temperature": "[degF]"}}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	many := map[string]string{}
	for range lh.MaxQuantities + 1 {
		many[string(lh.NewElementID())] = "m"
	}
	for what, change := range map[string]func(*lh.Project){
		"no name": func(p *lh.Project) { p.Name = "" }, "long name": func(p *lh.Project) { p.Name = strings.Repeat("x", 201) },
		"long description": func(p *lh.Project) { p.Description = strings.Repeat("x", 4001) }, "retention": func(p *lh.Project) { p.Retention = -1 },
		"language": func(p *lh.Project) { p.Language = "tlh" }, "system": func(p *lh.Project) { p.Units.System = "cgs" },
		"unit":       func(p *lh.Project) { p.Units.Quantities = map[string]string{"x": "m s"} },
		"quantity":   func(p *lh.Project) { p.Units.Quantities = map[string]string{"": "m"} },
		"quantities": func(p *lh.Project) { p.Units.Quantities = many },
	} {
		p := good
		change(&p)
		if err := p.Check(); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}
