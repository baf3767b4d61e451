package main

import (
	"bytes"
	"context"
	"regexp"
	"testing"
	"time"
)

// TestAPI runs the group in tiny sizes against a hub built from this tree.
func TestAPI(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs a hub")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if err := run(ctx, []string{"-group", "api", "-small"}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, name := range []string{"api_latest_p99_ms", "api_series_day_p99_ms", "login_cpu_ms", "authz_ns_per_check"} {
		if !regexp.MustCompile(`(?m)^metric=` + name + ` value=\d*[1-9]\d*(\.\d+)? unit=|(?m)^metric=` + name + ` value=0\.\d*[1-9]`).Match(stdout.Bytes()) {
			t.Errorf("%s is not told: %s", name, stdout.String())
		}
	}
}
