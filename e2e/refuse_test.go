package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

func oneBatch(t *testing.T) []byte {
	t.Helper()
	b := wire.Batch{Log: 9, First: 1, Channels: []string{"1/level"}, Records: []wire.Record{{Time: 1_700_000_000_000, Values: []wire.Value{{Flag: 1, Value: 1}}}}}
	raw, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// post uploads with a TLS configuration and returns the status; 0 where no answer came.
func post(t *testing.T, addr string, cfg *tls.Config, raw []byte) (int, []byte, error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Post("https://"+addr+"/v1/batch", wire.ContentBatch, bytes.NewReader(raw))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// mqtt opens an MQTT 5 session by hand and returns what the hub says to its first packet.
func mqtt(t *testing.T, addr string, cfg *tls.Config, id string) ([]byte, error) {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"mqtt"}
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, byte(len(id))}, id...)
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return nil, err
	}
	b := make([]byte, 4)
	n, err := io.ReadFull(conn, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return b[:n], err
}

// TestRefusals: what must never get in, at the ports of the real program.
func TestRefusals(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { refusals(t, "sqlite:hub.db") })
	t.Run("postgres", func(t *testing.T) { refusals(t, storetest.Postgres(t).URL) })
}

func refusals(t *testing.T, database string) {
	in := install(t, database)
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	d := in.enrol(h, c, p.ID, "LH-1")
	raw := oneBatch(t)

	// Certificates that are none of ours: another installation's, under another and under the same trust domain, and one
	// the device made itself.
	foreign := func(domain string) *tls.Certificate {
		t.Helper()
		other, err := pki.NewHierarchy(domain, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		der, err := pki.NewRequest(key, "x")
		if err != nil {
			t.Fatal(err)
		}
		csr, err := pki.ParseRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := pki.IssueDevice(other.Devices, domain, csr, lh.DeviceID(d.id), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return (&pki.KeyPair{Cert: cert, Key: key}).TLS(other.Devices.Cert)
	}
	for name, pair := range map[string]*tls.Certificate{"another installation": foreign("elsewhere.example"), "another installation of this name": foreign("loggerhead.internal"), "none": nil} {
		status, body, err := post(t, h.Devices, d.TLS(pair), raw)
		if name == "none" {
			if status != http.StatusUnauthorized || !bytes.Contains(body, []byte(`"code":"unauthenticated"`)) {
				t.Errorf("an upload without a certificate: %d %s %v", status, body, err)
			}
		} else if err == nil {
			t.Errorf("an upload with a certificate of %s: %d %s", name, status, body)
		}
		if answer, err := mqtt(t, h.MQTT, d.TLS(pair), d.id); err == nil || len(answer) > 0 {
			t.Errorf("MQTT with a certificate of %s is answered: %x", name, answer)
		}
	}
	// TLS 1.2, with a good certificate.
	old := d.TLS(d.Pair())
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, addr := range map[string]string{"devices": h.Devices, "mqtt": h.MQTT, "people": h.People} {
		if conn, err := tls.Dial("tcp", addr, old); err == nil {
			conn.Close()
			t.Errorf("%s speak TLS 1.2", name)
		} else if !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s refuse TLS 1.2 with %v", name, err)
		}
	}
	// The good one works, both ways; so the refusals above are not for another reason.
	if status, body, err := post(t, h.Devices, d.TLS(d.Pair()), raw); status != 200 {
		t.Errorf("the good certificate: %d %s %v", status, body, err)
	}
	if answer, err := mqtt(t, h.MQTT, d.TLS(d.Pair()), d.id); err != nil || len(answer) < 4 || answer[0] != 0x20 || answer[3] != 0 {
		t.Errorf("MQTT with the good certificate: %x %v", answer, err)
	}

	// A viewer's write, and another project's id.
	for _, email := range []string{"viewer@a.example", "other@b.example"} {
		in.command(strings.NewReader(password+"\n"), "user", "add", email)
	}
	viewer, other := in.logIn(h, "viewer@a.example"), in.logIn(h, "other@b.example")
	invited, err := c.Invite(ctx, p.ID, "viewer@a.example", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := viewer.AcceptInvitation(ctx, invited.ID); err != nil || got != p.ID {
		t.Fatalf("accepting the invitation: %q %v", got, err)
	}
	wantStatus := func(what string, err error, status int) {
		t.Helper()
		var e *client.Error
		if !errors.As(err, &e) || e.Status != status {
			t.Errorf("%s: %v, want status %d", what, err, status)
		}
	}
	if ds, err := viewer.Devices(ctx, p.ID); err != nil || len(ds) != 1 {
		t.Errorf("a viewer reads %d devices, %v", len(ds), err)
	}
	_, err = viewer.CreateLocation(ctx, p.ID, client.Location{Name: "x"})
	wantStatus("a viewer makes a location", err, 403)
	wantStatus("a viewer revokes", viewer.RevokeDevice(ctx, p.ID, d.id), 403)
	members, err := viewer.Members(ctx, p.ID)
	if err != nil || len(members) != 2 {
		t.Fatalf("%v %v", members, err)
	}
	for _, m := range members {
		wantStatus("a viewer makes "+m.Email+" owner", viewer.ChangeMember(ctx, p.ID, m.UserID, "owner"), 403)
	}
	_, err = other.Devices(ctx, p.ID)
	wantStatus("somebody else's project", err, 404)
	missing := string(lh.NewProjectID())
	_, err2 := other.Devices(ctx, missing)
	wantStatus("a missing project", err2, 404)
	if err == nil || err2 == nil || err.Error() != err2.Error() {
		t.Errorf("somebody else's project reads %q, a missing one %q", err, err2)
	}
	mine, err := other.CreateProject(ctx, "Mine", "UTC")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus("somebody else's device through an own project", other.RevokeDevice(ctx, mine.ID, d.id), 404)
	es, err := c.Elements(ctx, p.ID, "")
	if err != nil || len(es) != 1 {
		t.Fatalf("%v %v", es, err)
	}
	_, err = other.Series(ctx, mine.ID, []string{es[0].ID}, 0, 1, 0)
	wantStatus("somebody else's series through an own project", err, 404)

	// Revoked: cut at once, by both ways.
	if err := c.RevokeDevice(ctx, p.ID, d.id); err != nil {
		t.Fatal(err)
	}
	if status, _, err := post(t, h.Devices, d.TLS(d.Pair()), raw); err == nil && status != http.StatusForbidden && status != http.StatusUnauthorized {
		t.Errorf("an upload of a revoked device: %d", status)
	}
	if answer, err := mqtt(t, h.MQTT, d.TLS(d.Pair()), d.id); err == nil {
		t.Errorf("MQTT of a revoked device is answered: %x", answer)
	}
	if err := h.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, h.log)
	}
	if strings.Contains(h.log.String(), "panic") {
		t.Errorf("the hub panicked: %s", h.log)
	}
}
