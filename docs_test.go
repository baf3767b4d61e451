package loggerhead_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// Bounds of a file, in lines.
const (
	maxLines     = 1000
	maxMainLines = 60
)

// generated are the files that nobody writes by hand, so that their length says nothing.
var generated = []string{"web/src/api/schema.d.ts", "web/src/lib/api/schema.d.ts"}

// skipped are folders that are made, not written.
var skipped = []string{".git", "node_modules", "bin", "dist", "demo-data", "shots", "test-results"}

// sources reads every text file of the tree that people write, by its path.
var sources = sync.OnceValues(func() (map[string]string, error) {
	kinds := []string{".go", ".ts", ".js", ".mjs", ".svelte", ".css", ".html", ".sh", ".sql", ".md", ".yaml", ".yml", ".json", ".service", ".txtar"}
	files := map[string]string{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && slices.Contains(skipped, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 4<<20 {
			return err
		}
		if !slices.Contains(kinds, path.Ext(p)) && d.Name() != "Makefile" && info.Mode().Perm()&0o111 == 0 {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if kind := path.Ext(p); slices.Contains(kinds, kind) || d.Name() == "Makefile" || strings.HasPrefix(string(b), "#!") {
			files[filepath.ToSlash(p)] = string(b)
		}
		return nil
	})
	return files, err
})

func sourceFiles(t *testing.T) map[string]string {
	t.Helper()
	files, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	if files["go.mod"] == "" && files["arch_test.go"] == "" {
		t.Fatal("the tree was not found")
	}
	return files
}

// checkSize refuses files that are too long. Documents and data may be as long as they need.
func checkSize(files map[string]string) (wrong []string) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		switch path.Ext(p) {
		case ".md", ".json", ".yaml", ".yml", ".html":
			continue
		}
		most := maxLines
		if ok, _ := path.Match("cmd/*/main.go", p); ok {
			most = maxMainLines
		}
		if n := strings.Count(files[p], "\n"); n > most && !slices.Contains(generated, p) {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines; at most %d", p, n, most))
		}
	}
	return wrong
}

func TestFileSizes(t *testing.T) {
	files := sourceFiles(t)
	report(t, checkSize(files))
	var lengths []int
	for p, text := range files {
		if path.Ext(p) == ".go" {
			lengths = append(lengths, strings.Count(text, "\n"))
		}
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > 250 {
		t.Errorf("half of the Go files have more than %d lines", median)
	}
}

var (
	link      = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	fence     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading   = regexp.MustCompile(`(?m)^#+ +(.+?) *$`)
	reference = regexp.MustCompile(`\bdocs/[A-Za-z0-9._/-]+\.(?:md|png)\b`)
)

// anchor is the name that a heading is linked by.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// checkLinks follows every relative link of a Markdown file, to the heading too, and every mention of a document in any
// file. exists tells whether a path of the tree is there.
func checkLinks(files map[string]string, exists func(string) bool) (wrong []string) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		text := files[p]
		for _, m := range reference.FindAllString(text, -1) {
			if !exists(m) && !exists(path.Join(path.Dir(p), m)) {
				wrong = append(wrong, fmt.Sprintf("%s speaks of %s, which is not there", p, m))
			}
		}
		if path.Ext(p) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, part, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := p
			if target != "" {
				to = path.Join(path.Dir(p), target)
			}
			if !exists(to) {
				wrong = append(wrong, fmt.Sprintf("%s links to %s, which is not there", p, m[1]))
				continue
			}
			if part == "" {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(files[to], ""), -1) {
				found = found || anchor(h[1]) == part
			}
			if !found {
				wrong = append(wrong, fmt.Sprintf("%s links to %s, and %s has no such heading", p, m[1], to))
			}
		}
	}
	return wrong
}

func TestLinks(t *testing.T) {
	report(t, checkLinks(without(sourceFiles(t), "docs_test.go", "deps_test.go"), func(p string) bool {
		_, err := os.Stat(filepath.FromSlash(p))
		return err == nil
	}))
}

func without(files map[string]string, paths ...string) map[string]string {
	files = maps.Clone(files)
	for _, p := range paths {
		delete(files, p)
	}
	return files
}

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)\(`)
	filePath = regexp.MustCompile("`((?:internal|cmd|client|web|e2e|bench|deploy)/[A-Za-z0-9._/-]+)`")
)

// checkProofs looks up every test that a document calls by its name, and every file and folder.
func checkProofs(files map[string]string, exists func(string) bool) (wrong []string) {
	there := map[string]bool{}
	for p, text := range files {
		if strings.HasSuffix(p, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
				there[m[1]] = true
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(p) != ".md" {
			continue
		}
		for _, m := range testName.FindAllStringSubmatch(files[p], -1) {
			if !there[m[1]] {
				wrong = append(wrong, fmt.Sprintf("%s names %s, and there is no such test", p, m[1]))
			}
		}
		for _, m := range filePath.FindAllStringSubmatch(files[p], -1) {
			target := strings.TrimSuffix(m[1], "/...")
			made := slices.ContainsFunc(strings.Split(target, "/"), func(part string) bool { return slices.Contains(skipped, part) })
			if !made && !exists(target) {
				wrong = append(wrong, fmt.Sprintf("%s names %s, which is not there", p, target))
			}
		}
	}
	return wrong
}

func TestDocumentsNameWhatIsThere(t *testing.T) {
	report(t, checkProofs(sourceFiles(t), func(p string) bool {
		_, err := os.Stat(filepath.FromSlash(p))
		return err == nil
	}))
}

var (
	example     = regexp.MustCompile("(?ms)^```hex$\n(.*?)^```$")
	exampleFile = regexp.MustCompile("(?i)the file is\\s`([^`]+)`")
	hexColumn   = regexp.MustCompile(`^(?:[0-9a-f]{2} {1,3})*[0-9a-f]{2}(?:$| {4,})`)
)

// exampleBytes returns what stands in front of the words in the lines of a page's example.
func exampleBytes(page string) ([]byte, error) {
	m := example.FindStringSubmatch(page)
	if m == nil {
		return nil, errors.New("there is no example in hex")
	}
	var out []byte
	for line := range strings.Lines(m[1]) {
		b, err := hex.DecodeString(strings.ReplaceAll(hexColumn.FindString(strings.TrimRight(line, "\n")), " ", ""))
		if err != nil || len(b) == 0 {
			return nil, fmt.Errorf("a line of the example has no bytes: %q", line)
		}
		out = append(out, b...)
	}
	return out, nil
}

// TestDocumentedBytes holds the examples of docs/format to the files they are of, which the decoders' own tests read.
func TestDocumentedBytes(t *testing.T) {
	n := 0
	for p, text := range sourceFiles(t) {
		m := exampleFile.FindStringSubmatch(text)
		if !strings.HasPrefix(p, "docs/format/") || m == nil {
			continue
		}
		n++
		want, err := os.ReadFile(filepath.FromSlash(m[1]))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := exampleBytes(text)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s (%v):\n%x, the file has\n%x", p, err, got, want)
		}
	}
	if n < 4 {
		t.Errorf("%d pages have an example only", n)
	}
}

var metric = regexp.MustCompile(`"(loggerhead_[a-z_]+)"`)

// TestMetricsAreDocumented holds the list of metrics in the operator's page to those that are made.
func TestMetricsAreDocumented(t *testing.T) {
	files := sourceFiles(t)
	page := files["docs/operations.md"]
	made := map[string]bool{}
	for p, text := range files {
		if path.Ext(p) == ".go" && strings.HasPrefix(p, "internal/") && !strings.HasSuffix(p, "_test.go") {
			for _, m := range metric.FindAllStringSubmatch(text, -1) {
				made[m[1]] = true
			}
		}
	}
	if len(made) < 10 {
		t.Fatalf("%d metrics were found", len(made))
	}
	for m := range made {
		if !strings.Contains(page, "`"+m+"`") {
			t.Errorf("docs/operations.md does not list the metric %s", m)
		}
	}
	for _, m := range regexp.MustCompile("`(loggerhead_[a-z_]+)`").FindAllStringSubmatch(page, -1) {
		if !made[m[1]] {
			t.Errorf("docs/operations.md lists the metric %s, which nothing makes", m[1])
		}
	}
}

func TestDocumentRulesBite(t *testing.T) {
	long := strings.Repeat("x\n", maxLines+1)
	expect(t, "long file", checkSize(map[string]string{"internal/x/y.go": long}), "internal/x/y.go has 1001 lines")
	expect(t, "long script", checkSize(map[string]string{".ci/run": long}), ".ci/run has 1001 lines")
	expect(t, "long component", checkSize(map[string]string{"web/src/A.svelte": long}), "A.svelte has")
	expect(t, "generated", checkSize(map[string]string{generated[0]: long}), "")
	expect(t, "long main", checkSize(map[string]string{"cmd/x/main.go": long[:2*(maxMainLines+1)]}), "at most 60")
	expect(t, "short main", checkSize(map[string]string{"cmd/x/main.go": long[:2*maxMainLines], "cmd/x/serve.go": long[:2*maxLines]}), "")

	files := map[string]string{"README.md": "# Read me\n", "docs/a.md": "# The `first` part: one\n", "docs/format/b.md": "# B\n"}
	exists := func(p string) bool { _, ok := files[p]; return ok }
	see := func(p, text string) []string {
		all := maps.Clone(files)
		all[p] = text
		return checkLinks(all, exists)
	}
	expect(t, "good links", see("README.md", "[a](docs/a.md) [b](docs/a.md#the-first-part-one) [c](https://x.example/y.md) [d](#e)\n## E\n"), "")
	expect(t, "from a folder", see("docs/format/b.md", "[a](../a.md#the-first-part-one)"), "")
	expect(t, "no file", see("README.md", "[a](docs/c.md)"), "which is not there")
	expect(t, "no heading", see("README.md", "[a](docs/a.md#second)"), "no such heading")
	expect(t, "wrong folder", see("docs/format/b.md", "[a](a.md)"), "which is not there")
	expect(t, "in code", see("internal/x.go", "// See docs/format/c.md."), "speaks of docs/format/c.md")
	expect(t, "in code, there", see("internal/x.go", "// See docs/format/b.md."), "")
	expect(t, "in a fence", see("README.md", "```\n[a](c.md)\n```\n"), "")

	proofs := map[string]string{"a_test.go": "func TestA(t *testing.T) {}\n", "A.md": "proven by `TestA` in `internal/a`"}
	there := func(p string) bool { return p == "internal/a" }
	expect(t, "good proof", checkProofs(proofs, there), "")
	proofs["A.md"] = "proven by `TestB`"
	expect(t, "no test", checkProofs(proofs, there), "no such test")
	proofs["A.md"] = "in `e2e/shots/`"
	expect(t, "made", checkProofs(proofs, there), "")
	proofs["A.md"] = "in `internal/b`"
	expect(t, "no folder", checkProofs(proofs, there), "which is not there")
}
