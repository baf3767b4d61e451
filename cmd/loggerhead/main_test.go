package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/loggerhead-cloud/loggerhead/client"
)

// The scripts run this very program in processes of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"loggerhead": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("COLUMNS", "100")
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "mode": mode, "oneline": oneLine, "https": https, "waitlog": waitLog, "replace": replace, "allow": allow, "claimcode": claimCode,
		},
	})
}

// status runs the program and compares its exit status: status 5 user add a@example.org. Its output is then that of
// an exec.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: status number argument...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("loggerhead", args[1:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("loggerhead %s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// oneLine wants that standard error of the last command is one line that begins with the program's name.
func oneLine(ts *testscript.TestScript, neg bool, _ []string) {
	text := ts.ReadFile("stderr")
	if neg || !strings.HasPrefix(text, "loggerhead: ") || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		ts.Fatalf("not one sentence: %q", text)
	}
}

// mode compares a file's permissions: mode 600 file.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); neg || got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// replace replaces words in a file: replace file old new old new...
func replace(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	after := strings.NewReplacer(args[1:]...).Replace(text)
	if after == text {
		ts.Fatalf("%s has none of %q", args[0], args[1:])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(after), 0o600))
}

// waitLog waits until a file has a line with the words, and puts the word after the = of each further argument into
// the variable of that name: waitlog hub.log 'hub is up' people.
func waitLog(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, args[1]) || !strings.HasSuffix(line, "\n") {
				continue
			}
			for _, name := range args[2:] {
				_, value, ok := strings.Cut(line, " "+name+"=")
				if !ok {
					ts.Fatalf("no %s in %q", name, line)
				}
				ts.Setenv(name, strings.Fields(value)[0])
			}
			return
		}
	}
	ts.Fatalf("%s never said %q: %s", args[0], args[1], ts.ReadFile(args[0]))
}

// allow does what a person does in a browser for a program that waits to be logged in: allow log root.pem https://hub email
// password-file. The code is in the log.
func allow(ts *testscript.TestScript, _ bool, args []string) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ts.ReadFile(args[1])))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.New(args[2], client.Options{Roots: pool})
	ts.Check(err)
	defer c.Close()
	_, err = c.LogIn(ctx, args[3], strings.TrimSpace(ts.ReadFile(args[4])))
	ts.Check(err)
	code := regexp.MustCompile(`(?m)^    ([A-Z]{4}-[A-Z]{4})$`)
	for ctx.Err() == nil {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && code.Match(b) {
			ts.Check(c.AllowPairing(ctx, string(code.FindSubmatch(b)[1])))
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("no code in %s", ts.ReadFile(args[0]))
}

// claimCode puts the claim code that the last command printed into a variable: claimcode code.
func claimCode(ts *testscript.TestScript, _ bool, args []string) {
	code := regexp.MustCompile(`[0-9A-Z]{4}(-[0-9A-Z]{4}){4}`).FindString(ts.ReadFile("stdout"))
	if code == "" {
		ts.Fatalf("no claim code in %s", ts.ReadFile("stdout"))
	}
	ts.Setenv(args[0], code)
}

// https asks for a page under a pinned root: https root.pem https://127.0.0.1:1/x status words.
func https(ts *testscript.TestScript, _ bool, args []string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[0])))
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer t.CloseIdleConnections()
	resp, err := (&http.Client{Transport: t, Timeout: 20 * time.Second}).Get(args[1])
	ts.Check(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if got := strconv.Itoa(resp.StatusCode); got != args[2] || !strings.Contains(string(b), args[3]) {
		ts.Fatalf("%s: status %s, %.300s", args[1], got, b)
	}
}

// TestHalfAnOutputIsAFailure: what reads `loggerhead openapi` must not take half of it for the whole.
func TestHalfAnOutputIsAFailure(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here")
	}
	defer full.Close()
	for _, args := range [][]string{{"openapi"}, {"config", "example"}, {"version"}, {"--help"}} {
		var stderr strings.Builder
		if got := run(context.Background(), args, os.Getenv, strings.NewReader(""), full, &stderr); got == 0 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v into a full disk: status %d, %q", args, got, stderr.String())
		}
	}
}

// TestEnvironmentIsTheCallers: settings come from the given getenv, and a flag wins over it.
func TestEnvironmentIsTheCallers(t *testing.T) {
	env := map[string]string{"LOGGERHEAD_CONFIG": filepath.Join(t.TempDir(), "from-env.yaml")}
	var out, stderr strings.Builder
	try := func(args ...string) string {
		stderr.Reset()
		if run(context.Background(), args, func(k string) string { return env[k] }, strings.NewReader(""), &out, &stderr) != 4 {
			t.Errorf("%v: %s", args, stderr.String())
		}
		return stderr.String()
	}
	if got := try("health"); !strings.Contains(got, "from-env.yaml") {
		t.Error(got)
	}
	if got := try("health", "--config", filepath.Join(t.TempDir(), "from-flag.yaml")); !strings.Contains(got, "from-flag.yaml") {
		t.Error(got)
	}
}
