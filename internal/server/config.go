package server

import (
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/config"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

// Config is the configuration of a hub. The comments of its fields are the reference; `loggerhead config example`
// prints them. Relative paths are relative to the file's folder. Unknown keys are errors.
type Config struct {
	// Where the hub keeps its files: the master key, the embedded database, the root certificate.
	Data string `yaml:"data"`

	// The database: "sqlite:" and a file, or "postgres://user@host/name?sslmode=verify-full". A PostgreSQL password
	// belongs into PGPASSFILE, not here.
	Database string `yaml:"database"`

	// The master key's file, mode 0600. Losing it loses all data: keep a copy offline.
	MasterKey string `yaml:"master_key"`

	// The installation's name in device identities, spiffe://<trust domain>/d/<device id>. It is set once, by
	// `loggerhead init`, and must stay as it is.
	TrustDomain string `yaml:"trust_domain"`

	// The names and addresses under which devices and people reach the hub; its certificates are made for them.
	Hosts []string `yaml:"hosts"`

	// For people and programs: web app, REST API. TLS 1.3.
	People PeopleConfig `yaml:"people"`

	// For devices, by HTTPS: uploads, enrolment. TLS 1.3, device certificates.
	Devices ListenConfig `yaml:"devices"`

	// For devices, by MQTT 5 and 3.1.1. TLS 1.3, device certificates.
	MQTT ListenConfig `yaml:"mqtt"`

	// For the operator: health, metrics, profiles. In plaintext, so it must be a loopback address.
	Private ListenConfig `yaml:"private"`

	// How mail is sent. Without an address none is: what a mail would bring, links above all, is written into the log
	// for the operator to pass on.
	Mail MailConfig `yaml:"mail"`

	// OpenID Connect providers by which people may log in, such as
	//
	//   - name: example                       # in the address to register there: <people.url>/sso/example
	//     label: Example Corp.                # on the button
	//     issuer: https://login.example.org   # exactly as the provider says it
	//     client_id: loggerhead
	//     client_secret_file: example.secret  # mode 0600; none for a public client
	//     scopes: [email, profile]            # beside openid
	//     sign_up_domains: [example.org]      # whoever has a verified address there gets an account
	//     link_by_email: false                # true links the account with the verified address, at the first log-in
	//     second_factor: false                # true: the provider asks everybody for one, so none is asked for here
	//     ca: ""                              # PEM file, where the provider's certificate is of no public authority
	OIDC []ProviderConfig `yaml:"oidc"`

	// What is asked of new passwords.
	Passwords PasswordsConfig `yaml:"passwords"`

	// How projects come and go.
	Projects ProjectsConfig `yaml:"projects"`

	// How samples are kept.
	Series SeriesConfig `yaml:"series"`

	// How exports are made and kept.
	Exports ExportsConfig `yaml:"exports"`

	// How much people, programs and strangers may ask of each replica of the hub; 0 is without limit.
	Limits LimitsConfig `yaml:"limits"`

	// What is logged.
	Log config.Log `yaml:"log"`
}

// ListenConfig is an address to listen on.
type ListenConfig struct {
	// Address and port; an empty address is every interface, port 0 any free port.
	Listen string `yaml:"listen"`
}

// PeopleConfig is the listener for people and programs.
type PeopleConfig struct {
	// Address and port; an empty address is every interface, port 0 any free port.
	Listen string `yaml:"listen"`

	// Certificate chain and key in PEM files, read anew when they change. Without them the hub makes its own
	// certificate under the installation's root, which browsers know only after the root was added to them.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`

	// Where people reach the web app, as links in mails say it: https, a host, a port where it is not 443. Empty is the
	// first of hosts with the port of listen.
	URL string `yaml:"url"`

	// A host name of its own for the APIs of Consibio Cloud, which then stand at its root, for scripts in which nothing
	// but the host can be changed. It must be one of hosts. Empty is none; under /consibio they are always.
	ConsibioHost string `yaml:"consibio_host"`

	// Who makes accounts: "invitation" is who was invited, "open" is also everybody who proves an e-mail address.
	SignUp string `yaml:"sign_up"`

	// Who must have a second factor (an authenticator app or a passkey): nobody where it is empty, "operators", or "all".
	// Until somebody has one, they can do nothing but set it up.
	RequireSecondFactor string `yaml:"require_second_factor"`
}

// MailConfig says how mail is sent.
type MailConfig struct {
	// The mail server's name and port, such as smtp.example.org:587.
	Address string `yaml:"address"`

	// How the connection is protected: "starttls", "implicit" (TLS from the first byte, port 465), or "none", which is
	// refused but to a server on this machine. The server's certificate is verified.
	TLS string `yaml:"tls"`

	// The sender's address.
	From string `yaml:"from"`

	// The user to log in as, and a file of mode 0600 whose first line is the password. Without them nobody logs in.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`

	// A PEM file with the authorities that the server's certificate may come from; empty are those of the system.
	CA string `yaml:"ca"`
}

// PasswordsConfig says what is asked of new passwords, beside at least ten characters and not to be a common one.
type PasswordsConfig struct {
	// A file of leaked passwords that are refused: the SHA-1 list of Have I Been Pwned, ordered by hash. Empty checks
	// the most common ones alone.
	Breached string `yaml:"breached"`
}

// ProjectsConfig says how projects come and go.
type ProjectsConfig struct {
	// Who makes projects: "anyone" who has an account, or "operators" alone.
	Create string `yaml:"create"`

	// How long after an owner deletes a project it is destroyed. Until then it can be exported, and an owner can call it
	// off.
	DestroyAfter time.Duration `yaml:"destroy_after"`
}

// LimitsConfig says how much may be asked. Most requests take one point, reading a series 5, an export 50.
type LimitsConfig struct {
	// Points a second for each person, service account and integration, and how many can be saved up.
	Rate  float64 `yaml:"rate"`
	Burst int     `yaml:"burst"`

	// The same for each network that asks without being known, or in vain: an address of IPv4, a /64 of IPv6.
	StrangerRate  float64 `yaml:"stranger_rate"`
	StrangerBurst int     `yaml:"stranger_burst"`

	// Requests of each person, service account and integration that are answered at once; more of them wait.
	AtOnce int `yaml:"at_once"`
}

func (l LimitsConfig) access() access.Limits {
	return access.Limits{Rate: l.Rate, Burst: l.Burst, StrangerRate: l.StrangerRate, StrangerBurst: l.StrangerBurst, AtOnce: l.AtOnce}
}

// SeriesConfig says how samples are kept.
type SeriesConfig struct {
	// How long an upload may wait for others to share one disk sync with.
	CommitWait time.Duration `yaml:"commit_wait"`

	// How old uploads may get before they are folded into chunks; many are folded earlier.
	FoldAge time.Duration `yaml:"fold_age"`
}

// ExportsConfig says how exports are made and kept.
type ExportsConfig struct {
	// How many this hub makes at once.
	AtOnce int `yaml:"at_once"`

	// The largest file, in MiB.
	MaxSize int `yaml:"max_size_mib"`

	// How long a file is kept, and how long it may take to make one.
	Keep    time.Duration `yaml:"keep"`
	MaxTime time.Duration `yaml:"max_time"`
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Data: ".", Database: "sqlite:hub.db", MasterKey: "master.key", TrustDomain: "loggerhead.internal", Hosts: []string{"localhost", "127.0.0.1"},
		People: PeopleConfig{Listen: ":8443", SignUp: "invitation"}, MQTT: ListenConfig{":8883"}, Devices: ListenConfig{":8884"}, Private: ListenConfig{"127.0.0.1:8885"},
		Mail:     MailConfig{TLS: notify.StartTLS},
		Projects: ProjectsConfig{Create: "anyone", DestroyAfter: 7 * 24 * time.Hour},
		Series:   SeriesConfig{CommitWait: 2 * time.Millisecond, FoldAge: 15 * time.Minute},
		Exports:  ExportsConfig{AtOnce: 2, MaxSize: 4096, Keep: 24 * time.Hour, MaxTime: 2 * time.Hour},
		Limits:   LimitsConfig{Rate: 100, Burst: 2000, StrangerRate: 5, StrangerBurst: 200, AtOnce: 32},
		Log:      config.Log{Level: slog.LevelInfo, Format: "text"},
	}
}

// LoadConfig reads a configuration file and checks it.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	b, err := config.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("there is no configuration at %s; `loggerhead init` makes one: %w", path, err)
	}
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	if err := config.Parse(b, &c); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	abs, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return c, err
	}
	c.resolve(abs)
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// resolve makes every path absolute: data under base, the rest under data.
func (c *Config) resolve(base string) {
	under := func(base, p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(base, p)
	}
	c.Data = under(base, c.Data)
	c.MasterKey = under(c.Data, c.MasterKey)
	c.People.Certificate, c.People.Key = under(c.Data, c.People.Certificate), under(c.Data, c.People.Key)
	c.Mail.PasswordFile, c.Mail.CA, c.Passwords.Breached = under(c.Data, c.Mail.PasswordFile), under(c.Data, c.Mail.CA), under(c.Data, c.Passwords.Breached)
	for i := range c.OIDC {
		c.OIDC[i].ClientSecretFile, c.OIDC[i].CA = under(c.Data, c.OIDC[i].ClientSecretFile), under(c.Data, c.OIDC[i].CA)
	}
	if p, ok := strings.CutPrefix(c.Database, "sqlite:"); ok && p != "" {
		c.Database = "sqlite:" + under(c.Data, p)
	}
}

// check refuses what is ambiguous or dangerous.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	listen := map[string]string{}
	for _, l := range []struct{ name, addr string }{{"people", c.People.Listen}, {"devices", c.Devices.Listen}, {"mqtt", c.MQTT.Listen}, {"private", c.Private.Listen}} {
		host, port, err := net.SplitHostPort(l.addr)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			bad("%s.listen: %q is no address and port, such as 0.0.0.0:8443 or :8443", l.name, l.addr)
			continue
		}
		if other, ok := listen[port]; ok && port != "0" {
			bad("%s.listen and %s.listen have the same port %s", other, l.name, port)
		}
		listen[port] = l.name
		if l.name == "private" {
			if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
				bad("private.listen: %q is not a loopback address; this listener is in plaintext and must not be reached from outside", l.addr)
			}
		}
	}
	if c.Data == "" || c.MasterKey == "" {
		bad("data and master_key: both are needed")
	}
	if err := pki.CheckTrustDomain(c.TrustDomain); err != nil {
		bad("trust_domain: %w", err)
	}
	if err := checkDatabase(c.Database); err != nil {
		bad("database: %w", err)
	}
	if (c.People.Certificate == "") != (c.People.Key == "") {
		bad("people.certificate and people.key go together: set both or none")
	}
	if c.People.URL != "" {
		if u, err := url.Parse(c.People.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			bad("people.url: %q is not https:// and a host, such as https://hub.example.org", c.People.URL)
		}
	}
	if c.People.SignUp != "invitation" && c.People.SignUp != "open" {
		bad("people.sign_up: %q is neither invitation nor open", c.People.SignUp)
	}
	if c.Mail.Address != "" {
		if err := c.Mail.smtp(nil).Check(); err != nil {
			bad("mail.%w", err)
		}
	} else if c.Mail.From != "" || c.Mail.User != "" {
		bad("mail.address: it is missing; without it no mail is sent")
	} else if c.People.SignUp == "open" {
		bad("people.sign_up: open needs a mail server (mail.address), by which people prove their addresses")
	}
	c.checkProviders(bad)
	if len(c.Hosts) == 0 {
		bad("hosts: at least one name or address is needed")
	}
	if c.Projects.Create != "anyone" && c.Projects.Create != "operators" {
		bad(`projects.create: %q is neither "anyone" nor "operators"`, c.Projects.Create)
	}
	if c.Projects.DestroyAfter < time.Minute || c.Projects.DestroyAfter > 366*24*time.Hour {
		bad("projects.destroy_after: %s is not between 1m and 8784h (a year)", c.Projects.DestroyAfter)
	}
	if h := c.People.ConsibioHost; h != "" && !slices.ContainsFunc(c.Hosts, func(n string) bool { return strings.EqualFold(n, h) }) {
		bad("people.consibio_host: %q is not one of hosts, so the hub's certificate would not be good for it", h)
	} else if h != "" && len(c.Hosts) == 1 {
		bad("people.consibio_host: %q is the only one of hosts, and the web app would have none", h)
	}
	if c.Exports.AtOnce < 1 || c.Exports.AtOnce > 16 {
		bad("exports.at_once: %d is not between 1 and 16", c.Exports.AtOnce)
	}
	if c.Exports.MaxSize < 1 || c.Exports.MaxSize > 1<<20 {
		bad("exports.max_size_mib: %d is not between 1 and 1048576", c.Exports.MaxSize)
	}
	if c.Exports.Keep < time.Hour || c.Exports.Keep > 7*24*time.Hour {
		bad("exports.keep: %s is not between 1h and 168h (a week)", c.Exports.Keep)
	}
	if c.Exports.MaxTime < time.Minute || c.Exports.MaxTime > 24*time.Hour {
		bad("exports.max_time: %s is not between 1m and 24h", c.Exports.MaxTime)
	}
	if c.Series.CommitWait < 0 || c.Series.CommitWait > time.Second {
		bad("series.commit_wait: %s is not between 0s and 1s", c.Series.CommitWait)
	}
	if c.Series.FoldAge < 100*time.Millisecond || c.Series.FoldAge > time.Hour {
		bad("series.fold_age: %s is not between 100ms and 1h", c.Series.FoldAge)
	}
	if l := c.Limits; l.Rate < 0 || l.Burst < 0 || l.StrangerRate < 0 || l.StrangerBurst < 0 || l.AtOnce < 0 {
		bad("limits: none of them is below 0")
	} else if (l.Rate == 0) != (l.Burst == 0) || (l.StrangerRate == 0) != (l.StrangerBurst == 0) {
		bad("limits: a rate and its burst go together: set both, or both to 0")
	}
	if err := c.Log.Check(); err != nil {
		bad("log.%w", err)
	}
	return errors.Join(errs...)
}

func (m MailConfig) smtp(roots *x509.CertPool) notify.SMTP {
	return notify.SMTP{Address: m.Address, TLS: m.TLS, From: m.From, User: m.User, PasswordFile: m.PasswordFile, Roots: roots}
}

// PeopleURL is where people reach the web app, without a slash at its end. listen is where the hub listens for them.
func (c Config) PeopleURL(listen string) string {
	if c.People.URL != "" {
		return strings.TrimRight(c.People.URL, "/")
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil || len(c.Hosts) == 0 {
		return ""
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(c.Hosts[0], port)}
	if port == "443" {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	return u.String()
}

// checkDatabase refuses what is no database, and a password in a file that says where it is. Its errors repeat nothing
// of the URL.
func checkDatabase(database string) error {
	if p, ok := strings.CutPrefix(database, "sqlite:"); ok && p != "" {
		return nil
	}
	u, err := url.Parse(database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New(`it is neither "sqlite:" and a file nor a postgres:// URL`)
	}
	if _, secret := u.User.Password(); secret || u.Query().Has("password") {
		return errors.New("a password belongs into the file that PGPASSFILE names, not into the URL")
	}
	return nil
}

//go:embed config.go
var configSource string

// Example returns the whole configuration as commented YAML, with c's values. The comments are those of the fields.
func (c Config) Example() (string, error) {
	text, err := config.Example(c, configSource)
	return "# The configuration of a Loggerhead hub. Relative paths are relative to this file's folder (data) or to\n" +
		"# data (the rest). Unknown keys are errors.\n" + text, err
}
