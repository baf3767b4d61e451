package loggerhead_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// These tests hold the tree to ARCHITECTURE.md. Its tables are the rules themselves: what they say is read from there
// and enforced here, so the page cannot drift from the code. What may not be weakened by editing a table alone stands
// here: the order of the layers and the neighbours that may know each other.

const module = "github.com/loggerhead-cloud/loggerhead"

// layers are the layers, lowest first. A package may import what lies in layers below its own, as its row says.
var layers = []string{"vocabulary", "ground", "mechanisms", "storage", "behaviours", "edges", "programs", "commands", "tests"}

// neighbours are the only imports within a layer.
var neighbours = map[string][]string{
	"internal/pki/pkitest":       {"internal/pki"},
	"internal/notify/notifytest": {"internal/notify"},
	"internal/series":            {"internal/store"},
	"internal/store/storetest":   {"internal/store"},
	"internal/agent":             {"internal/agent/wal", "internal/agent/sensor"},
	"internal/demo":              {"internal/server", "internal/agent/wal"},
}

// pkg is a package of this module, or one that it imports; a path of this module is relative to its root.
type pkg struct {
	path    string
	doc     string
	dir     string
	imports []string // of the package itself
	tests   []string // of its test files
	program bool
}

// relative turns an import path of this module into a path from its root; others stay as they are.
func relative(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// ours reports whether an import, made relative, is of this module: neither of another nor of the standard library.
func ours(tree map[string]pkg, imp string) bool { _, ok := tree[imp]; return ok }

// standard reports whether an import is of the standard library: its first part has no dot.
func standard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return imp != "." && !strings.Contains(first, ".")
}

// goList runs go list and hands every package it tells of to fn.
func goList[T any](env []string, args []string, fn func(T)) error {
	c := exec.Command("go", append([]string{"list", "-e"}, args...)...)
	c.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return fmt.Errorf("go list %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p T
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("go list %s: %w", strings.Join(args, " "), err)
		}
		fn(p)
	}
}

// loadTree lists the packages of the module.
var loadTree = sync.OnceValues(func() (map[string]pkg, error) {
	type listed struct {
		ImportPath, Name, Doc, Dir         string
		Imports, TestImports, XTestImports []string
	}
	tree := map[string]pkg{}
	err := goList(nil, []string{"-json=ImportPath,Name,Doc,Dir,Imports,TestImports,XTestImports", "./..."}, func(l listed) {
		p := pkg{path: relative(l.ImportPath), doc: l.Doc, dir: l.Dir, program: l.Name == "main"}
		for _, i := range l.Imports {
			p.imports = append(p.imports, relative(i))
		}
		for _, i := range append(l.TestImports, l.XTestImports...) {
			if i = relative(i); i != p.path && !slices.Contains(p.tests, i) {
				p.tests = append(p.tests, i)
			}
		}
		tree[p.path] = p
	})
	return tree, err
})

func sourceTree(t *testing.T) map[string]pkg {
	t.Helper()
	tree, err := loadTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) < 10 {
		t.Fatalf("go list found %d packages only", len(tree))
	}
	return tree
}

// row is a line of the table of packages.
type row struct {
	pkg, layer string
	may        []string // layers and packages; "*" is everything
}

var code = regexp.MustCompile("`([^`]+)`")

// tables reads the rows of the Markdown tables that stand under a heading, their heads and rulers left out.
func tables(markdown, heading string) ([][][]string, error) {
	_, rest, ok := strings.Cut(markdown, "\n"+heading+"\n")
	if !ok {
		return nil, fmt.Errorf("there is no heading %q", heading)
	}
	var all [][][]string
	var rows [][]string
	for line := range strings.Lines(rest + "\n#") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "|") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
			continue
		}
		if len(rows) > 2 {
			all = append(all, rows[2:])
		}
		rows = nil
		if strings.HasPrefix(line, "#") {
			break
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no table below %q", heading)
	}
	return all, nil
}

// table is the first of them.
func table(markdown, heading string) ([][]string, error) {
	all, err := tables(markdown, heading)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// packageRows reads the table of packages: package, layer, may import, what it does.
func packageRows(markdown string) (map[string]row, error) {
	lines, err := table(markdown, "## Packages and who may import whom")
	if err != nil {
		return nil, err
	}
	rows := map[string]row{}
	for _, l := range lines {
		m := code.FindStringSubmatch(l[0])
		if len(l) != 4 || m == nil {
			return nil, fmt.Errorf("the row %q is not: `package`, layer, may import, does", l)
		}
		r := row{pkg: m[1], layer: l[1]}
		for w := range strings.SplitSeq(l[2], ",") {
			switch w = strings.Trim(strings.TrimSpace(w), "`"); w {
			case "standard library", "":
			case "anything":
				r.may = append(r.may, "*")
			default:
				r.may = append(r.may, w)
			}
		}
		if _, twice := rows[r.pkg]; twice {
			return nil, fmt.Errorf("%s stands twice in the table", r.pkg)
		}
		rows[r.pkg] = r
	}
	return rows, nil
}

// checkTable refuses a table that breaks the order of the layers.
func checkTable(rows map[string]row) (wrong []string) {
	for _, r := range sorted(rows) {
		own := slices.Index(layers, r.layer)
		if own < 0 {
			wrong = append(wrong, fmt.Sprintf("%s: there is no layer %q", r.pkg, r.layer))
			continue
		}
		for _, m := range r.may {
			layer, isLayer := m, slices.Contains(layers, m)
			if !isLayer && m != "*" {
				to, ok := rows[m]
				if !ok {
					wrong = append(wrong, fmt.Sprintf("%s may import %q, which is neither a layer nor a package of the table", r.pkg, m))
					continue
				}
				layer = to.layer
			}
			switch of := slices.Index(layers, layer); {
			case m == "*" && r.layer != "tests":
				wrong = append(wrong, fmt.Sprintf("%s may import anything, but is not in the layer of tests", r.pkg))
			case m == "*" || of < own || !isLayer && of == own && slices.Contains(neighbours[r.pkg], m):
			default:
				wrong = append(wrong, fmt.Sprintf("%s (%s) may import %s (%s), which is not below it", r.pkg, r.layer, m, layer))
			}
		}
	}
	return wrong
}

func sorted[T any](m map[string]T) []T {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]T, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}

// checkImports holds the packages to the table. Their tests may import what lies in their own layer too, since they
// drive the real thing, but nothing above it.
func checkImports(rows map[string]row, tree map[string]pkg) (wrong []string) {
	for _, p := range sorted(tree) {
		r, ok := rows[p.path]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is not in the table of ARCHITECTURE.md: say there which layer it is in and what it may import", p.path))
			continue
		}
		if slices.Contains(r.may, "*") {
			continue
		}
		for _, i := range p.imports {
			if ours(tree, i) && !slices.Contains(r.may, i) && !slices.Contains(r.may, rows[i].layer) {
				wrong = append(wrong, fmt.Sprintf("%s (%s) imports %s (%s)", p.path, r.layer, i, rows[i].layer))
			}
			if (r.layer == "vocabulary" || r.layer == "ground") && !standard(i) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s, but the %s imports the standard library only", p.path, i, r.layer))
			}
		}
		for _, i := range p.tests {
			if ours(tree, i) && slices.Index(layers, rows[i].layer) > slices.Index(layers, r.layer) {
				wrong = append(wrong, fmt.Sprintf("a test of %s (%s) imports %s (%s)", p.path, r.layer, i, rows[i].layer))
			}
		}
	}
	for _, r := range sorted(rows) {
		if !ours(tree, r.pkg) {
			wrong = append(wrong, fmt.Sprintf("%s is in the table and not in the tree", r.pkg))
		}
	}
	return wrong
}

// door says that a library, by the prefix of its import paths, is imported in some packages only, tests included.
type door struct {
	library string
	in      []string // packages; "x/..." is x and all below
}

// doors reads the table of libraries with one door.
func doors(markdown string) ([]door, error) {
	lines, err := table(markdown, "## Libraries with one door")
	if err != nil {
		return nil, err
	}
	var ds []door
	for _, l := range lines {
		var in []string
		for _, m := range code.FindAllStringSubmatch(l[1], -1) {
			in = append(in, m[1])
		}
		for _, m := range code.FindAllStringSubmatch(l[0], -1) {
			ds = append(ds, door{m[1], in})
		}
	}
	return ds, nil
}

func matches(pattern, path string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func checkDoors(ds []door, tree map[string]pkg) (wrong []string) {
	for _, p := range sorted(tree) {
		for _, d := range ds {
			if slices.ContainsFunc(d.in, func(in string) bool { return matches(in, p.path) }) {
				continue
			}
			for _, i := range slices.Concat(p.imports, p.tests) {
				if matches(d.library+"/...", i) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s, which only %s may", p.path, i, strings.Join(d.in, ", ")))
				}
			}
		}
	}
	return wrong
}

func architecture(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func report(t *testing.T, wrong []string) {
	t.Helper()
	for _, w := range wrong {
		t.Error(w)
	}
}

func TestImports(t *testing.T) {
	rows, err := packageRows(architecture(t))
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkTable(rows))
	report(t, checkImports(rows, sourceTree(t)))
}

func TestDoors(t *testing.T) {
	ds, err := doors(architecture(t))
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkDoors(ds, sourceTree(t)))
	var libraries []string
	for _, d := range ds {
		libraries = append(libraries, d.library)
	}
	for _, l := range []string{"database/sql", "github.com/jackc/pgx", "github.com/ncruces/go-sqlite3", "github.com/eclipse/paho.golang",
		"github.com/mochi-mqtt/server", "github.com/danielgtaylor/huma", "github.com/tink-crypto/tink-go"} {
		if !slices.Contains(libraries, l) {
			t.Errorf("%s has no row in the table of libraries with one door", l)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	report(t, checkDocs(sourceTree(t)))
}

func checkDocs(tree map[string]pkg) (wrong []string) {
	for _, p := range sorted(tree) {
		kind, name := "Package ", path.Base(p.path)
		if p.path == "." {
			name = path.Base(module)
		}
		if p.program {
			kind = "Command "
		}
		if want := kind + name + " "; len(p.doc) < 30 || !strings.HasPrefix(p.doc, want) {
			wrong = append(wrong, fmt.Sprintf("%s: its package comment %q should say in a sentence what it is, and begin with %q", p.path, p.doc, want))
		}
	}
	return wrong
}

// scopeMakers are the packages whose own code may make a store.Scope that sees something. Tests may, since they play
// everybody.
var scopeMakers = []string{"internal/access", "internal/store/storetest"}

func TestScopesComeFromAccess(t *testing.T) {
	fset := token.NewFileSet()
	seen := 0
	for _, p := range sorted(sourceTree(t)) {
		files, err := filepath.Glob(filepath.Join(p.dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if makes := scopeMade(p.path, filepath.Base(name), f); makes != nil {
				seen++
				if !slices.Contains(scopeMakers, p.path) && !strings.HasSuffix(name, "_test.go") {
					t.Errorf("%s: a store.Scope is made here; only access may, after it has checked who is asking", fset.Position(makes.Pos()))
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no place was found where a store.Scope is made: the search is broken")
	}
}

// scopeMade returns where a file makes, or takes the maker of, a store.Scope that is not the zero one.
func scopeMade(pkgPath, name string, f *ast.File) (at ast.Node) {
	if pkgPath == "internal/store" && name == "scope.go" {
		return nil // its home
	}
	local := ""
	for _, i := range f.Imports {
		if strings.Trim(i.Path.Value, `"`) == module+"/internal/store" {
			local = "store"
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	is := func(e ast.Expr, want string) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name == want && (f.Name.Name == "store" || local == ".")
		case *ast.SelectorExpr:
			x, ok := e.X.(*ast.Ident)
			return ok && local != "" && x.Name == local && e.Sel.Name == want
		}
		return false
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if n.Type != nil && is(n.Type, "Scope") && len(n.Elts) > 0 {
				at = cmp.Or(at, ast.Node(n))
			}
		case ast.Expr:
			if is(n, "NewScope") {
				at = cmp.Or(at, ast.Node(n))
			}
		}
		return true
	})
	return at
}
