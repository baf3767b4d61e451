package loggerhead_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestGoldenDependencies holds the packages that are linked into the programs of a datalogger, on the smallest of the
// machines they run on: whatever comes in new is seen in the change that brings it.
func TestGoldenDependencies(t *testing.T) {
	for _, program := range []string{"loggerhead-agent", "loggerhead-stage1"} {
		t.Run(program, func(t *testing.T) {
			type listed struct {
				ImportPath string
				Standard   bool
			}
			var deps []string
			err := goList([]string{"GOOS=linux", "GOARCH=arm", "GOARM=7", "CGO_ENABLED=0"},
				[]string{"-deps", "-json=ImportPath,Standard", "./cmd/" + program}, func(p listed) {
					if !p.Standard {
						deps = append(deps, p.ImportPath)
					}
				})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(deps)
			golden(t, filepath.Join("testdata", "deps", program+".txt"), strings.Join(deps, "\n")+"\n")
			report(t, checkNever(program, deps))
		})
	}
}

// never are what the programs of a datalogger must not link, even if somebody writes the golden list anew.
var never = map[string][]string{
	"loggerhead-agent": {"github.com/prometheus", "github.com/danielgtaylor", "github.com/jackc", "github.com/ncruces", "github.com/pressly",
		"github.com/mochi-mqtt", "github.com/tink-crypto", module + "/internal/store", module + "/internal/server", module + "/web"},
	"loggerhead-stage1": {"github.com", "go.yaml.in", "google.golang.org", "lukechampine.com", "golang.org/x/net", "golang.org/x/crypto"},
}

func checkNever(program string, deps []string) (wrong []string) {
	for _, d := range deps {
		for _, n := range never[program] {
			own := strings.HasPrefix(d, module) && !strings.HasPrefix(n, module)
			if !own && matches(n+"/...", d) {
				wrong = append(wrong, fmt.Sprintf("%s links %s, which a datalogger must not carry", program, d))
			}
		}
	}
	return wrong
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	have, had := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for _, l := range have {
		if !slices.Contains(had, l) {
			t.Errorf("%s: new: %s", path, l)
		}
	}
	for _, l := range had {
		if !slices.Contains(have, l) {
			t.Errorf("%s: gone: %s", path, l)
		}
	}
	t.Error("if that is meant, run: go test . -update")
}

// mod is a module as go list tells it.
type mod struct {
	Path, Version, Dir string
	Main               bool
}

// linked returns the modules of packages and, with tests, of what their tests need.
func linked(tests bool, patterns ...string) (map[string]mod, error) {
	type listed struct {
		ImportPath string
		Module     *mod
	}
	args := []string{"-deps", "-json=ImportPath,Module"}
	if tests {
		args = append(args, "-test")
	}
	mods := map[string]mod{}
	err := goList(nil, append(args, patterns...), func(l listed) {
		if l.Module != nil && !l.Module.Main {
			mods[l.Module.Path] = *l.Module
		}
	})
	return mods, err
}

// direct returns the modules whose packages this module's own files import, and those of its tools.
func direct(t *testing.T) map[string]mod {
	t.Helper()
	all, err := linked(true, "./...")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]mod{}
	for _, p := range sourceTree(t) {
		for _, i := range slices.Concat(p.imports, p.tests) {
			if m, ok := moduleOf(all, i); ok {
				found[m.Path] = m
			}
		}
	}
	type tool struct{ Module *mod }
	err = goList(nil, []string{"-json=Module", "tool"}, func(l tool) {
		if l.Module != nil && !l.Module.Main {
			found[l.Module.Path] = *l.Module
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// moduleOf returns the module of an import: of those that fit, the one with the longest path.
func moduleOf(all map[string]mod, importPath string) (best mod, ok bool) {
	for _, m := range all {
		if matches(m.Path+"/...", importPath) && len(m.Path) > len(best.Path) {
			best, ok = m, true
		}
	}
	return best, ok
}

// dependency is a row of docs/dependencies.md.
type dependency struct{ version, licence, why string }

// dependencyRows reads the tables under one of its headings: name, version, licence, why.
func dependencyRows(markdown, heading string) (map[string]dependency, error) {
	all, err := tables(markdown, heading)
	rows := map[string]dependency{}
	for _, l := range slices.Concat(all...) {
		m := code.FindStringSubmatch(l[0])
		if len(l) != 4 || m == nil {
			return nil, fmt.Errorf("the row %q is not: `name`, version, licence, why", l)
		}
		rows[m[1]] = dependency{l[1], l[2], l[3]}
	}
	return rows, err
}

// checkDependencies holds the page and what is there (name to version) to each other.
func checkDependencies(rows map[string]dependency, there map[string]string) (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(there)) {
		switch r, ok := rows[name]; {
		case !ok:
			wrong = append(wrong, fmt.Sprintf("%s has no line in docs/dependencies.md: say why it is needed, or do without", name))
		case r.version != there[name]:
			wrong = append(wrong, fmt.Sprintf("%s is %s here, and docs/dependencies.md has looked at %s", name, there[name], r.version))
		case len(r.why) < 20:
			wrong = append(wrong, fmt.Sprintf("%s: docs/dependencies.md does not say why", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		if _, ok := there[name]; !ok {
			wrong = append(wrong, fmt.Sprintf("%s is in docs/dependencies.md and no direct dependency", name))
		}
	}
	return wrong
}

func dependencies(t *testing.T, heading string) map[string]dependency {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := dependencyRows(string(page), heading)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// maxDirect is how many modules this one may depend on directly, its tests and tools included.
const maxDirect = 40

func TestGoDependencies(t *testing.T) {
	mods := direct(t)
	there := map[string]string{}
	for _, m := range mods {
		there[m.Path] = m.Version
	}
	if len(there) > maxDirect {
		t.Errorf("%d direct dependencies; at most %d", len(there), maxDirect)
	}
	golden(t, filepath.Join("testdata", "deps", "modules.txt"), strings.Join(slices.Sorted(maps.Keys(there)), "\n")+"\n")
	rows := dependencies(t, "## Go")
	report(t, checkDependencies(rows, there))
	for _, m := range mods {
		if got := licencesOf(t, m.Dir); rows[m.Path].licence != strings.Join(got, ", ") {
			t.Errorf("%s: docs/dependencies.md has the licence %q, its files say %q", m.Path, rows[m.Path].licence, got)
		}
	}
}

// webs are the folders with npm packages.
var webs = []string{"web", "e2e/web"}

func TestWebDependencies(t *testing.T) {
	rows := dependencies(t, "## Web")
	there := map[string]string{}
	for _, dir := range webs {
		b, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if errors.Is(err, fs.ErrNotExist) && dir != "web" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var p struct {
			Dependencies    map[string]string `json:"dependencies"`
			DevDependencies map[string]string `json:"devDependencies"`
		}
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		maps.Copy(there, p.Dependencies)
		maps.Copy(there, p.DevDependencies)
		checkLock(t, dir, rows)
	}
	report(t, checkDependencies(rows, there))
}

// checkLock reads the licences of what npm installs, and with it of what is built into the web app.
func checkLock(t *testing.T, dir string, rows map[string]dependency) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct {
			License string `json:"license"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		t.Fatal(err)
	}
	if len(lock.Packages) < 2 {
		t.Fatalf("%s/package-lock.json lists %d packages", dir, len(lock.Packages))
	}
	for path, p := range lock.Packages {
		if path == "" { // the folder itself
			continue
		}
		if refused(p.License) || p.License == "" {
			t.Errorf("%s/%s has the licence %q", dir, path, p.License)
		}
		name := strings.TrimPrefix(path, "node_modules/")
		if r, ok := rows[name]; ok && r.licence != p.License {
			t.Errorf("%s: docs/dependencies.md has the licence %q, package-lock.json %q", name, r.licence, p.License)
		}
	}
}

// licences tells licences by words that only they have, those that ask for the source of a whole program first. The
// GNU ones are told by their heading alone, since the bodies of others (MPL, EPL) speak of them.
var licences = []struct {
	name    string
	heading bool
	words   *regexp.Regexp
}{
	{"AGPL", true, regexp.MustCompile(`(?i)gnu affero general public license`)},
	{"LGPL", true, regexp.MustCompile(`(?i)gnu (lesser|library) general public license`)},
	{"GPL", true, regexp.MustCompile(`(?i)gnu general public license`)},
	{"SSPL", true, regexp.MustCompile(`(?i)server side public license`)},
	{"BUSL", true, regexp.MustCompile(`(?i)business source license`)},
	{"Elastic", true, regexp.MustCompile(`(?i)elastic license`)},
	{"Commons Clause", false, regexp.MustCompile(`(?i)commons clause`)},
	{"MPL-2.0", true, regexp.MustCompile(`(?i)mozilla public license`)},
	{"EPL-2.0", true, regexp.MustCompile(`(?i)eclipse public license`)},
	{"Apache-2.0", false, regexp.MustCompile(`(?i)apache license\s+version 2\.0`)},
	{"MIT-0", false, regexp.MustCompile(`(?i)mit no attribution`)},
	{"MIT", false, regexp.MustCompile(`(?i)permission is hereby granted, free of charge, to any person`)},
	{"ISC", false, regexp.MustCompile(`(?i)permission to use, copy, modify, and(/or)? distribute this software for any`)},
	{"BSD-3-Clause", false, regexp.MustCompile(`(?is)redistribution and use in source and binary forms.*(neither the names?|the names? of|used to endorse)`)},
	{"BSD-2-Clause", false, regexp.MustCompile(`(?i)redistribution and use in source and binary forms`)},
	{"Unlicense", false, regexp.MustCompile(`(?i)free and unencumbered software released into the public domain`)},
	{"CC0-1.0", false, regexp.MustCompile(`(?i)cc0 1\.0 universal`)},
	{"public domain", false, regexp.MustCompile(`(?i)the author disclaims copyright`)},
}

// copyleft are the licences that nothing of ours may be under or linked with; the LGPL is one of them, since a Go
// program links everything into one file.
var copyleft = []string{"AGPL", "GPL", "LGPL", "SSPL", "BUSL", "Elastic", "Commons Clause"}

var spaces = regexp.MustCompile(`[\s*#/]+`)

// licenceOf names the licence of a text, "" when it is none that is known.
func licenceOf(text string) string {
	text = strings.TrimSpace(spaces.ReplaceAllString(text, " "))
	for _, l := range licences {
		t := text
		if l.heading {
			t = t[:min(len(t), 200)]
		}
		if l.words.MatchString(t) {
			return l.name
		}
	}
	return ""
}

// refused reports whether an SPDX expression, or a name of ours, allows nothing but copyleft.
func refused(licence string) bool {
	for alternative := range strings.SplitSeq(strings.Trim(licence, "()"), " OR ") {
		bad := false
		for part := range strings.SplitSeq(strings.Trim(alternative, "() "), " AND ") {
			for _, c := range copyleft {
				bad = bad || part == c || strings.HasPrefix(part, c+"-")
			}
		}
		if !bad {
			return false
		}
	}
	return true
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense|edl|epl)([-._].*)?$|^(edl|epl)-v.*$`)

// licencesOf names the licences that the files at the root of a module's folder hold.
func licencesOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		l := licenceOf(string(b))
		if l == "" {
			l = "unknown (" + e.Name() + ")"
		}
		if !slices.Contains(found, l) {
			found = append(found, l)
		}
	}
	slices.Sort(found)
	return found
}

// TestLicences reads the licence files of every module that is linked into one of the programs.
func TestLicences(t *testing.T) {
	programs, err := filepath.Glob("cmd/*")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, p := range programs {
		patterns = append(patterns, "./"+filepath.ToSlash(p))
	}
	mods, err := linked(false, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	if len(mods) < 10 {
		t.Fatalf("the programs link %d modules only", len(mods))
	}
	for _, path := range slices.Sorted(maps.Keys(mods)) {
		found := licencesOf(t, mods[path].Dir)
		if len(found) == 0 {
			t.Errorf("%s has no licence file", path)
		}
		for _, l := range found {
			if strings.HasPrefix(l, "unknown") {
				t.Errorf("%s: its licence is not known: %s", path, l)
			}
			if refused(l) {
				t.Errorf("%s is under the %s, which no program of ours may link", path, l)
			}
		}
	}
}

func TestDependencyRulesBite(t *testing.T) {
	page := "\n## Go\n\n| module | version | licence | why |\n|---|---|---|---|\n| `example.org/a` | v1.0.0 | MIT | without it we would write a database |\n"
	rows, err := dependencyRows(page, "## Go")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "good", checkDependencies(rows, map[string]string{"example.org/a": "v1.0.0"}), "")
	expect(t, "no line", checkDependencies(rows, map[string]string{"example.org/a": "v1.0.0", "example.org/b": "v1.0.0"}), "example.org/b has no line")
	expect(t, "newer", checkDependencies(rows, map[string]string{"example.org/a": "v1.1.0"}), "has looked at v1.0.0")
	expect(t, "stale", checkDependencies(rows, nil), "no direct dependency")
	rows["example.org/a"] = dependency{"v1.0.0", "MIT", "useful"}
	expect(t, "no why", checkDependencies(rows, map[string]string{"example.org/a": "v1.0.0"}), "does not say why")

	expect(t, "agent, metrics", checkNever("loggerhead-agent", []string{"github.com/prometheus/client_golang/prometheus"}), "must not carry")
	expect(t, "agent, own store", checkNever("loggerhead-agent", []string{module + "/internal/store"}), "must not carry")
	expect(t, "agent, own wire", checkNever("loggerhead-agent", []string{module + "/internal/wire", "github.com/prometheus2/x"}), "")
	expect(t, "stage1", checkNever("loggerhead-stage1", []string{"github.com/x/y"}), "must not carry")
	expect(t, "stage1, own", checkNever("loggerhead-stage1", []string{module + "/internal/image", "golang.org/x/sys/unix"}), "")

	m, ok := moduleOf(map[string]mod{"a.org/x": {Path: "a.org/x"}, "a.org/x/v2": {Path: "a.org/x/v2"}}, "a.org/x/v2/y")
	if !ok || m.Path != "a.org/x/v2" {
		t.Errorf("module of a.org/x/v2/y is %q", m.Path)
	}
}

func TestLicenceMatcherBites(t *testing.T) {
	for text, want := range map[string]string{
		"                    GNU GENERAL PUBLIC LICENSE\n                       Version 2, June 1991":                          "GPL",
		"                    GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007":            "AGPL",
		"                   GNU LESSER GENERAL PUBLIC LICENSE\n                       Version 3":                               "LGPL",
		"                     Server Side Public License\n                     VERSION 1":                                      "SSPL",
		"Mozilla Public License Version 2.0\n" + strings.Repeat("words ", 100) + "the GNU General Public License, Version 2.0": "MPL-2.0",
		"Eclipse Public License - v 2.0\n" + strings.Repeat("words ", 100) + "GNU General Public License":                      "EPL-2.0",
		"Copyright (c) 2020 A\n\nPermission is hereby granted, free of charge, to any person obtaining a copy":                 "MIT",
		"Redistribution and use in source and binary forms, with or without\nmodification ... Neither the name of X nor":       "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without\nmodification, are permitted":                      "BSD-2-Clause",
		"// Redistribution and use in source\n// and binary forms, with or without modification, are permitted":                "BSD-2-Clause",
		"                                 Apache License\n                           Version 2.0, January 2004":                "Apache-2.0",
		"Apache License Version 2.0\n\n\"Commons Clause\" License Condition v1.0":                                              "Commons Clause",
		"You may look at this.": "",
	} {
		if got := licenceOf(text); got != want {
			t.Errorf("%.60q is taken for %q, want %q", text, got, want)
		}
	}
	// The real texts, where Debian has put them.
	for name, want := range map[string]string{"GPL-2": "GPL", "GPL-3": "GPL", "LGPL-2.1": "LGPL", "LGPL-3": "LGPL", "Apache-2.0": "Apache-2.0",
		"MPL-2.0": "MPL-2.0", "CC0-1.0": "CC0-1.0"} {
		b, err := os.ReadFile("/usr/share/common-licenses/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := licenceOf(string(b)); got != want {
			t.Errorf("%s is taken for %q", name, got)
		}
	}
	for expression, want := range map[string]bool{"MIT": false, "GPL": true, "GPL-3.0-only": true, "AGPL-3.0": true, "LGPL-2.1": true,
		"(MIT OR GPL-3.0-or-later)": false, "MIT AND GPL-2.0": true, "Apache-2.0 WITH LLVM-exception": false, "MPL-2.0": false, "BUSL-1.1": true} {
		if got := refused(expression); got != want {
			t.Errorf("refused(%q) is %v", expression, got)
		}
	}
}
