package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// apiSizes is how much the api group does.
type apiSizes struct {
	devices int
	people  int           // who ask, each with a session of their own
	rate    int           // requests a second, of all of them together
	length  time.Duration // of each load
	logIns  int
	checks  int
}

func (b *bench) apiSizes() apiSizes {
	if b.small {
		return apiSizes{devices: 3, people: 2, rate: 50, length: time.Second, logIns: 3, checks: 200}
	}
	return apiSizes{devices: 20, people: 20, rate: 200, length: 15 * time.Second, logIns: 20, checks: 20_000}
}

// runAPI measures what people and their programs wait for: a project of 20 stations with a day of minutes each, whose
// newest values and days of series are asked for at a steady rate.
func runAPI(ctx context.Context, b *bench) error {
	if err := b.buildHub(ctx); err != nil {
		return err
	}
	z := b.apiSizes()
	in, err := b.install(ctx, z.devices)
	if err != nil {
		return err
	}
	people, err := in.addPeople(ctx, z.people)
	if err != nil {
		return err
	}
	err = b.step(ctx, in, spineSizes{}, func(ctx context.Context, in *installation, h *hub, _ spineSizes) error {
		return in.enrolDevices(ctx, h)
	})
	if err != nil {
		return err
	}
	if err := in.join(ctx, people); err != nil {
		return err
	}
	err = b.step(ctx, in, spineSizes{}, func(ctx context.Context, in *installation, h *hub, _ spineSizes) error {
		return in.askAPI(ctx, h, z, people)
	})
	if err != nil {
		return err
	}
	return in.checkAuthority(ctx, z, people)
}

// asker is a person who asks.
type asker struct {
	email string
	id    lh.UserID
	token string
}

// addPeople makes accounts, whose password is the installation's. No hub runs meanwhile.
func (in *installation) addPeople(ctx context.Context, n int) ([]*asker, error) {
	people := make([]*asker, n)
	err := in.open(ctx, func(db *store.DB) error {
		acc := access.New(access.Options{DB: db})
		for i := range people {
			u, err := acc.CreateUser(ctx, lh.User{Email: fmt.Sprintf("asker%d@loggerhead.example", i), Name: "Asker"}, in.password)
			if err != nil {
				return err
			}
			people[i] = &asker{email: u.Email, id: u.ID}
		}
		return nil
	})
	return people, err
}

// join makes people viewers of the project. No hub runs meanwhile.
func (in *installation) join(ctx context.Context, people []*asker) error {
	return in.open(ctx, func(db *store.DB) error {
		owner, _, err := db.UserByEmail(ctx, in.email)
		if err != nil {
			return err
		}
		acc := access.New(access.Options{DB: db})
		sc, err := acc.Scope(ctx, access.Principal{Kind: lh.ActorUser, User: owner}, lh.ProjectID(in.project))
		if err != nil {
			return err
		}
		for _, p := range people {
			if err := db.SetMember(ctx, sc, lh.Member{User: p.id, Role: lh.RoleViewer}); err != nil {
				return err
			}
		}
		return nil
	})
}

// askAPI logs everybody in and asks.
func (in *installation) askAPI(ctx context.Context, h *hub, z apiSizes, people []*asker) error {
	b, channels := in.b, station()
	const day = 24 * 60
	first := minutesAgo(day)
	senders, err := in.senders(ctx, h, in.devices, channels, first, 2, day/2)
	defer closeAll(senders)
	if err != nil {
		return err
	}
	if _, err := sendAll(ctx, senders); err != nil {
		return err
	}
	if err := h.folded(ctx); err != nil {
		return err
	}
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	for i := range max(z.logIns, len(people)) {
		p := people[i%len(people)]
		c, err := client.New("https://"+h.people, client.Options{Roots: in.pool})
		if err != nil {
			return err
		}
		_, err = c.LogIn(ctx, p.email, in.password)
		p.token = c.Token()
		c.Close()
		if err != nil {
			return err
		}
	}
	after, err := h.cpu()
	if err != nil {
		return err
	}
	b.metric("login_cpu_ms", (after-cpu).Seconds()*1000/float64(max(z.logIns, len(people))), "ms")
	c, err := in.client(ctx, h)
	if err != nil {
		return err
	}
	defer c.Close()
	elements, err := c.Elements(ctx, in.project, "")
	if err != nil {
		return err
	}
	if want := len(in.devices) * len(channels); len(elements) != want {
		return fmt.Errorf("the project has %d elements, not %d", len(elements), want)
	}
	base := "https://" + h.people + "/api/v1/projects/" + in.project
	if err := in.load(ctx, h, z, people, "api_latest_p99_ms", func(int) string { return base + "/latest" }); err != nil {
		return err
	}
	return in.load(ctx, h, z, people, "api_series_day_p99_ms", func(i int) string {
		q := url.Values{"elements": {elements[i%len(elements)].ID}, "from": {strconv.FormatInt(int64(first), 10)},
			"to": {strconv.FormatInt(int64(first)+day*60_000, 10)}, "points": {"0"}}
		return base + "/series?" + q.Encode()
	})
}

// load asks at a steady rate, whether or not earlier answers are there, and counts each answer from when it was due: an
// asker that falls behind does not make the hub look faster.
func (in *installation) load(ctx context.Context, h *hub, z apiSizes, people []*asker, name string, address func(i int) string) error {
	b := in.b
	web := in.browser(len(people))
	defer web.CloseIdleConnections()
	n := int(z.length.Seconds() * float64(z.rate))
	warm := z.rate // a second's worth is not counted
	took := make([]time.Duration, n+warm)
	errs := make([]error, len(took))
	finish := h.profile(ctx, name)
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range took {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(z.rate))
		if err := sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		wg.Go(func() {
			body, err := ask(ctx, web, address(i), people[i%len(people)].token)
			took[i] = time.Since(due)
			if err == nil && len(body) < 200 {
				err = fmt.Errorf("the answer holds nothing: %s", body)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	used, err := h.cpu()
	if err != nil {
		return err
	}
	finish()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took = took[warm:]
	b.say("%s at %d requests/s: median %s, 99 %% %s, worst %s; hub %.2f ms of CPU each", name, z.rate, quantile(took, 0.5).Round(10*time.Microsecond),
		quantile(took, 0.99).Round(10*time.Microsecond), quantile(took, 1).Round(10*time.Microsecond), (used-cpu).Seconds()*1000/float64(n+warm))
	b.metric(name, quantile(took, 0.99).Seconds()*1000, "ms")
	return nil
}

// ask reads an answer of the REST API.
func ask(ctx context.Context, web *http.Client, address, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.300s", resp.Status, body)
	}
	return body, nil
}

// browser is a client as a browser is one.
func (in *installation) browser(connections int) *http.Client {
	t := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: in.pool}, MaxIdleConnsPerHost: connections, ForceAttemptHTTP2: true}
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// checkAuthority measures what every request begins with: whose token it is, and what they may in the project.
func (in *installation) checkAuthority(ctx context.Context, z apiSizes, people []*asker) error {
	return in.open(ctx, func(db *store.DB) error {
		acc := access.New(access.Options{DB: db})
		from := netip.MustParseAddr("127.0.0.1")
		start, cpu := time.Now(), ownCPU()
		for i := range z.checks {
			p, err := acc.Authenticate(ctx, people[i%len(people)].token, from)
			if err != nil {
				return err
			}
			sc, err := acc.Scope(ctx, p, lh.ProjectID(in.project))
			if err != nil {
				return err
			}
			if !sc.Allows(lh.PermRead) || sc.Allows(lh.PermConfigure) {
				return errors.New("a viewer is none")
			}
		}
		in.b.say("%d checks: %.1f µs of CPU each", z.checks, (ownCPU()-cpu).Seconds()*1e6/float64(z.checks))
		in.b.metric("authz_ns_per_check", float64(time.Since(start).Nanoseconds())/float64(z.checks), "ns")
		return nil
	})
}
