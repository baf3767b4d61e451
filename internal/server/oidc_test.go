package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/server"
)

const goodProvider = "{name: corp, label: Corp, issuer: 'https://login.example.org', client_id: hub, client_secret_file: corp.secret, ca: corp.pem, sign_up_domains: [example.org]}"

// TestProviderConfig: providers are read, their files found beside the rest, and what is ambiguous or dangerous refused.
func TestProviderConfig(t *testing.T) {
	c, err := load(t, "people: {require_second_factor: operators}\noidc: ["+goodProvider+"]\n")
	if err != nil {
		t.Fatal(err)
	}
	if p := c.OIDC[0]; p.ClientSecretFile != filepath.Join(c.Data, "corp.secret") || p.CA != filepath.Join(c.Data, "corp.pem") || c.People.RequireSecondFactor != "operators" {
		t.Errorf("%+v", p)
	}
	for change, want := range map[string]string{
		"name: Corp": "oidc Corp: name", "name: ''": "oidc[0]: name", "name: a/b": "name", "label: ''": "label", "issuer: 'http://login.example.org'": "issuer",
		"issuer: 'https://u:p@login.example.org'": "issuer", "issuer: login.example.org": "issuer", "client_id: ''": "client_id",
		"sign_up_domains: ['*.example.org']": "sign_up_domains", "sign_up_domains: ['@example.org']": "sign_up_domains", "sign_up_domains: [org]": "sign_up_domains", "client: x": "client",
	} {
		key, _, _ := strings.Cut(change, ":")
		var rest []string
		for _, f := range strings.Split(strings.Trim(goodProvider, "{}"), ", ") {
			if !strings.HasPrefix(f, key+":") {
				rest = append(rest, f)
			}
		}
		if _, err := load(t, "oidc: [{"+strings.Join(append(rest, change), ", ")+"}]\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
	if _, err := load(t, "oidc: ["+goodProvider+", "+goodProvider+"]\n"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one name twice: %v", err)
	}
	if _, err := load(t, "people: {require_second_factor: some}\n"); err == nil || !strings.Contains(err.Error(), "require_second_factor") {
		t.Errorf("an unknown wish: %v", err)
	}
}

// TestProviderFiles: a hub does not start on a secret that others may read, nor on authorities that are none.
func TestProviderFiles(t *testing.T) {
	fresh := install(t, "sqlite:hub.db")
	secret, ca := filepath.Join(fresh.Data, "corp.secret"), filepath.Join(fresh.Data, "corp.pem")
	root, err := os.ReadFile(filepath.Join(fresh.Data, server.RootFile))
	must(t, err)
	for what, c := range map[string]struct {
		secret string
		mode   os.FileMode
		ca     string
		want   string
	}{
		"readable by others": {"s\n", 0o644, string(root), "mode must be 0600"},
		"empty":              {"\n", 0o600, string(root), "is empty"},
		"no certificate":     {"s\n", 0o600, "x", "no certificate"},
	} {
		must(t, os.WriteFile(secret, []byte(c.secret), c.mode), os.Chmod(secret, c.mode), os.WriteFile(ca, []byte(c.ca), 0o644))
		cfg := fresh
		cfg.OIDC = []server.ProviderConfig{{Name: "corp", Label: "Corp", Issuer: "https://login.example.org", ClientID: "hub", ClientSecretFile: secret, CA: ca}}
		if s, err := server.New(ctx, cfg, server.Deps{}); err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
