package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// ProviderConfig is an OpenID Connect provider by which people may log in.
type ProviderConfig struct {
	// Short and fixed: it is in the address that the provider sends people back to, <people.url>/sso/<name>, which must
	// be registered there, exactly.
	Name string `yaml:"name"`

	// What the button on the log-in page says.
	Label string `yaml:"label"`

	// The provider's address, exactly as its own description says it.
	Issuer string `yaml:"issuer"`

	// What the provider knows the hub by. Without a secret file the hub is a public client.
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`

	// What is asked for beside openid; e-mail address and name are asked for where nothing is said.
	Scopes []string `yaml:"scopes"`

	// Domains: whoever has an address in one of them, which the provider has verified, gets an account at the first log-in.
	SignUpDomains []string `yaml:"sign_up_domains"`

	// Whether an account that has the address which the provider has verified is linked at the first log-in. Set it only
	// for a provider that is trusted with every account here.
	LinkByEmail bool `yaml:"link_by_email"`

	// Whether the provider itself asks everybody for a second factor, so that none is asked for here.
	SecondFactor bool `yaml:"second_factor"`

	// A PEM file with the authorities that the provider's certificate may come from; empty are those of the system.
	CA string `yaml:"ca"`
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (c *Config) checkProviders(bad func(format string, args ...any)) {
	seen := map[string]bool{}
	for i, p := range c.OIDC {
		at := fmt.Sprintf("oidc[%d]", i)
		if p.Name != "" {
			at = "oidc " + p.Name
		}
		if !providerName.MatchString(p.Name) {
			bad("%s: name: %q is not 1 to 32 of a-z, 0-9 and -", at, p.Name)
		}
		if seen[p.Name] {
			bad("%s: the name stands twice", at)
		}
		seen[p.Name] = true
		if p.Label == "" || len(p.Label) > 60 {
			bad("%s: label: it has 1 to 60 bytes", at)
		}
		u, err := url.Parse(p.Issuer)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			bad("%s: issuer: %q is not https:// and a host, as the provider's description says it", at, p.Issuer)
		}
		if p.ClientID == "" {
			bad("%s: client_id: it is missing", at)
		}
		for _, d := range p.SignUpDomains {
			if !strings.Contains(d, ".") || strings.ContainsAny(d, "@*/ ") {
				bad("%s: sign_up_domains: %q is no domain, such as example.org", at, d)
			}
		}
	}
	switch c.People.RequireSecondFactor {
	case access.RequireNobody, access.RequireOperators, access.RequireAll:
	default:
		bad(`people.require_second_factor: %q is neither empty nor "operators" nor "all"`, c.People.RequireSecondFactor)
	}
}

// providers reads what the providers' files hold.
func (c *Config) providers() ([]access.Provider, error) {
	var ps []access.Provider
	for _, p := range c.OIDC {
		out := access.Provider{Name: p.Name, Label: p.Label, Issuer: p.Issuer, ClientID: p.ClientID, Scopes: p.Scopes, SignUp: p.SignUpDomains,
			LinkEmail: p.LinkByEmail, SecondFactor: p.SecondFactor}
		if len(out.Scopes) == 0 {
			out.Scopes = []string{"email", "profile"}
		}
		if p.ClientSecretFile != "" {
			s, err := readSecret(p.ClientSecretFile)
			if err != nil {
				return nil, fmt.Errorf("oidc %s: client_secret_file: %w", p.Name, err)
			}
			out.ClientSecret = s
		}
		if p.CA != "" {
			b, err := os.ReadFile(p.CA)
			if err != nil {
				return nil, fmt.Errorf("oidc %s: ca: %w", p.Name, err)
			}
			out.Roots = x509.NewCertPool()
			if !out.Roots.AppendCertsFromPEM(b) {
				return nil, fmt.Errorf("oidc %s: ca: there is no certificate in %s", p.Name, p.CA)
			}
		}
		ps = append(ps, out)
	}
	return ps, nil
}

// readSecret returns the first line of a file that nobody else may read. Its errors repeat nothing of it.
func readSecret(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("others may read %s; its mode must be 0600", path)
	}
	if st.Size() > 64<<10 {
		return "", errors.New("the file is larger than a secret")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("the first line of %s is empty", path)
	}
	return line, nil
}
