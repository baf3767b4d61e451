package loggerhead_test

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// A rule that cannot be broken proves nothing: each is shown trees that break it.

const rulesPage = `
## Packages and who may import whom

words

| package | layer | may import | does |
|---|---|---|---|
| ` + "`.`" + ` | vocabulary | standard library | x |
| ` + "`internal/durable`" + ` | ground | standard library | x |
| ` + "`internal/wire`" + ` | mechanisms | vocabulary | x |
| ` + "`internal/seal`" + ` | mechanisms | vocabulary, ground | x |
| ` + "`internal/store`" + ` | storage | vocabulary, mechanisms | x |
| ` + "`internal/series`" + ` | storage | vocabulary, mechanisms, ` + "`internal/store`" + ` | x |
| ` + "`internal/api`" + ` | edges | vocabulary, storage | x |
| ` + "`e2e`" + ` | tests | anything | x |

## Libraries with one door

| library | only in |
|---|---|
| ` + "`database/sql`, `example.org/sql`" + ` | ` + "`internal/store/...`" + ` |
`

func goodTree() map[string]pkg {
	return map[string]pkg{
		".":                {path: ".", imports: []string{"context", "encoding/json"}},
		"internal/durable": {path: "internal/durable", imports: []string{"os"}},
		"internal/wire":    {path: "internal/wire", imports: []string{".", "bytes"}, tests: []string{"example.org/cmp"}},
		"internal/seal":    {path: "internal/seal", imports: []string{".", "internal/durable", "example.org/tink"}},
		"internal/store":   {path: "internal/store", imports: []string{".", "internal/seal", "database/sql", "example.org/sql/v2"}},
		"internal/series":  {path: "internal/series", imports: []string{".", "internal/wire", "internal/store"}},
		"internal/api":     {path: "internal/api", imports: []string{".", "internal/series"}, tests: []string{"internal/store"}},
		"e2e":              {path: "e2e", imports: []string{"internal/api", "internal/wire"}},
	}
}

func add(tree map[string]pkg, path string, test bool, imports ...string) {
	p := tree[path]
	p.path = path
	if test {
		p.tests = append(p.tests, imports...)
	} else {
		p.imports = append(p.imports, imports...)
	}
	tree[path] = p
}

func expect(t *testing.T, name string, wrong []string, want string) {
	t.Helper()
	got := strings.Join(wrong, "\n")
	if want == "" && got != "" || want != "" && !strings.Contains(got, want) {
		t.Errorf("%s: found %q, want %q", name, got, want)
	}
}

func TestImportRulesBite(t *testing.T) {
	rows, err := packageRows(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	ds, err := doors(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(map[string]pkg)
		want   string
	}{
		"good":                   {func(map[string]pkg) {}, ""},
		"vocabulary, library":    {func(m map[string]pkg) { add(m, ".", false, "example.org/x") }, ". imports example.org/x"},
		"vocabulary, upward":     {func(m map[string]pkg) { add(m, ".", false, "internal/wire") }, ". (vocabulary) imports internal/wire"},
		"ground, library":        {func(m map[string]pkg) { add(m, "internal/durable", false, "example.org/x") }, "internal/durable imports example.org/x"},
		"ground, upward":         {func(m map[string]pkg) { add(m, "internal/durable", false, ".") }, "internal/durable (ground) imports . (vocabulary)"},
		"ground, not in the row": {func(m map[string]pkg) { add(m, "internal/wire", false, "internal/durable") }, "internal/wire (mechanisms) imports internal/durable (ground)"},
		"mechanism, neighbour":   {func(m map[string]pkg) { add(m, "internal/wire", false, "internal/seal") }, "internal/wire (mechanisms) imports internal/seal"},
		"mechanism, upward":      {func(m map[string]pkg) { add(m, "internal/seal", false, "internal/store") }, "internal/seal (mechanisms) imports internal/store"},
		"store, neighbour":       {func(m map[string]pkg) { add(m, "internal/store", false, "internal/series") }, "internal/store (storage) imports internal/series"},
		"edge, skipped layer":    {func(m map[string]pkg) { add(m, "internal/api", false, "internal/wire") }, "internal/api (edges) imports internal/wire"},
		"test, upward":           {func(m map[string]pkg) { add(m, "internal/store", true, "internal/api") }, "a test of internal/store (storage) imports internal/api"},
		"unlisted":               {func(m map[string]pkg) { add(m, "internal/util", false) }, "internal/util is not in the table"},
		"unlisted sub-package":   {func(m map[string]pkg) { add(m, "internal/store/x", false) }, "internal/store/x is not in the table"},
		"listed and not there":   {func(m map[string]pkg) { delete(m, "internal/seal") }, "internal/seal is in the table and not"},
		"library, wrong door":    {func(m map[string]pkg) { add(m, "internal/api", false, "database/sql") }, "internal/api imports database/sql"},
		"library, sub-package":   {func(m map[string]pkg) { add(m, "internal/api", false, "example.org/sql/driver") }, "internal/api imports example.org/sql/driver"},
		"library, in a test":     {func(m map[string]pkg) { add(m, "internal/api", true, "example.org/sql") }, "internal/api imports example.org/sql"},
		"library, like-named":    {func(m map[string]pkg) { add(m, "internal/api", false, "example.org/sqlx") }, ""},
		"free for tests' layer":  {func(m map[string]pkg) { add(m, "e2e", false, "internal/store") }, ""},
	} {
		tree := goodTree()
		c.change(tree)
		expect(t, name, append(checkImports(rows, tree), checkDoors(ds, tree)...), c.want)
	}
}

func TestTableRulesBite(t *testing.T) {
	change := func(old, new string) map[string]row {
		t.Helper()
		page := strings.Replace(rulesPage, old, new, 1)
		if page == rulesPage {
			t.Fatalf("nothing to replace: %s", old)
		}
		rows, err := packageRows(page)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	rows, err := packageRows(rulesPage)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "good", checkTable(rows), "")
	expect(t, "upward", checkTable(change("mechanisms | vocabulary |", "mechanisms | vocabulary, storage |")), "which is not below it")
	expect(t, "own layer", checkTable(change("mechanisms | vocabulary |", "mechanisms | vocabulary, mechanisms |")), "which is not below it")
	expect(t, "neighbour", checkTable(change("mechanisms | vocabulary |", "mechanisms | vocabulary, `internal/seal` |")), "which is not below it")
	expect(t, "package above", checkTable(change("mechanisms | vocabulary |", "mechanisms | `internal/api` |")), "which is not below it")
	expect(t, "anything", checkTable(change("edges | vocabulary, storage |", "edges | anything |")), "may import anything")
	expect(t, "no such layer", checkTable(change("| edges |", "| rim |")), `no layer "rim"`)
	expect(t, "no such package", checkTable(change("edges | vocabulary, storage |", "edges | `internal/x` |")), "neither a layer nor a package")
	for _, bad := range []string{"", "\n## Packages and who may import whom\n\nno table\n", strings.Replace(rulesPage, "`internal/seal`", "`internal/wire`", 1)} {
		if _, err := packageRows(bad); err == nil {
			t.Errorf("taken as a table: %q", bad)
		}
	}
}

func TestDocRuleBites(t *testing.T) {
	long := " is something that is said in words."
	for _, c := range []struct {
		p    pkg
		good bool
	}{
		{pkg{path: "internal/wire", doc: "Package wire" + long}, true},
		{pkg{path: ".", doc: "Package loggerhead" + long}, true},
		{pkg{path: "cmd/loggerhead-agent", doc: "Command loggerhead-agent" + long, program: true}, true},
		{pkg{path: "cmd/loggerhead-agent", doc: "Package main" + long, program: true}, false},
		{pkg{path: "cmd/loggerhead-agent", program: true}, false},
		{pkg{path: "internal/wire"}, false},
		{pkg{path: "internal/wire", doc: "Package wire."}, false},
		{pkg{path: "internal/wire", doc: "Package wiretap" + long}, false},
	} {
		if got := len(checkDocs(map[string]pkg{c.p.path: c.p})) == 0; got != c.good {
			t.Errorf("%+v: good is %v", c.p, got)
		}
	}
}

func TestScopeRuleBites(t *testing.T) {
	const imp = `import "` + module + `/internal/store"; `
	for source, made := range map[string]bool{
		"package api; " + imp + "func f() { _ = store.NewScope(p, r, a) }":                                           true,
		"package api; " + imp + "var f = store.NewScope":                                                             true,
		`package api; import s "` + module + `/internal/store"; func f() { _ = s.NewScope(p, r, a) }`:                true,
		`package api; import . "` + module + `/internal/store"; func f() { _ = NewScope(p, r, a) }`:                  true,
		"package store; func f() { _ = NewScope(p, r, a) }":                                                          true,
		"package store; func f() { _ = Scope{project: p} }":                                                          true,
		"package store; func f() (Scope, error) { return Scope{}, nil }":                                             false,
		"package api; " + imp + "func f(s store.Scope) store.Scope { return store.Scope{} }":                         false,
		"package api; func f() { store.NewScope(1) }":                                                                false, // a variable of that name
		"package api; " + imp + "type T struct{ Scope store.Scope }; func f(s store.Scope) T { return T{Scope: s} }": false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := scopeMade("internal/"+f.Name.Name, "x.go", f) != nil; got != made {
			t.Errorf("%s: made is %v", source, got)
		}
	}
}
