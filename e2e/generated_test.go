package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGeneratedClient: the description of the API is good enough for a generator that is not ours. What it makes compiles
// strictly, and works.
func TestGeneratedClient(t *testing.T) {
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("LOGGERHEAD_TEST_ALL") != "" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("there is no %s", tool)
		}
	}
	c, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(c, name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "NO_COLOR=1", "NODE_EXTRA_CA_CERTS="+filepath.Join(dir, "root.pem"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, name := range []string{"package.json", "package-lock.json", "tsconfig.json", "use.ts"} {
		b, err := os.ReadFile(filepath.Join("clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := install(t, "sqlite:hub.db")
	h := in.serve()
	root, err := os.ReadFile(filepath.Join(in.dir, "root.pem"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "root.pem"), root, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "openapi.json"), []byte(in.command(nil, "openapi")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	run("npx", "--no-install", "openapi-ts", "-i", "openapi.json", "-o", "generated")
	run("npx", "--no-install", "tsc", "-p", ".")
	if out := run("node", "built/use.js", "https://"+h.People, in.admin, password); !strings.Contains(out, "the generated client works") {
		t.Errorf("it says %q", out)
	}
}
