package fleet_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var ctx = context.Background()

const domain = "test.example"

// world is a fleet on a real database with a real authority.
type world struct {
	t     *testing.T
	db    *store.DB
	fleet *fleet.Fleet
	owner store.Scope
	root  *x509.Certificate
	cas   *x509.CertPool
	cut   []lh.DeviceID
}

func deviceScope(p lh.ProjectID, d lh.DeviceID) store.Scope {
	return store.NewScope(p, lh.RoleDevice, lh.Actor{Kind: lh.ActorDevice, ID: string(d)})
}

func each(t *testing.T, f func(w *world)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, err := pki.NewHierarchy(domain, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, db: db, owner: storetest.Project(t, db), root: h.Root.Cert, cas: x509.NewCertPool()}
		w.cas.AddCert(h.Devices.Cert)
		w.fleet = fleet.New(fleet.Options{DB: db, Issuer: h.Devices, TrustDomain: domain, DeviceScope: deviceScope,
			Cut: func(d lh.DeviceID) { w.cut = append(w.cut, d) }, Log: slog.New(slog.DiscardHandler)})
		f(w)
	})
}

// request makes a key and its certificate request, which asks for a name that is not the device's to choose.
func (w *world) request() (crypto.PublicKey, []byte) {
	w.t.Helper()
	k, err := pki.NewKey()
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := pki.NewRequest(k, "I am somebody else")
	if err != nil {
		w.t.Fatal(err)
	}
	return k.Public(), csr
}

func (w *world) list(serial string) string {
	w.t.Helper()
	code, err := w.fleet.List(ctx, serial, "lh-sim-1")
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

func (w *world) claim(serial, code string) lh.Device {
	w.t.Helper()
	d, err := w.fleet.Claim(ctx, w.owner, serial, code, lh.Device{Name: "Bridge", MaxOffline: 60})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) want(what string, err error, code lh.Code) {
	w.t.Helper()
	if lh.CodeOf(err) != code {
		w.t.Errorf("%s: %v (%q), want %q", what, err, lh.CodeOf(err), code)
	}
}

func TestClaimAndEnrol(t *testing.T) {
	each(t, func(w *world) {
		t := w.t
		code := w.list("LH-0001")
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
			t.Errorf("code %q does not look as on a label", code)
		}
		_, csr := w.request()
		_, err := w.fleet.Enroll(ctx, "LH-0001", code, csr)
		w.want("enrol before anybody claimed it", err, lh.Forbidden)

		d := w.claim("LH-0001", strings.ToLower(strings.ReplaceAll(code, "-", " ")))
		if d.State != lh.DeviceClaimed || d.Serial != "LH-0001" || d.Hardware != "lh-sim-1" || d.Project != w.owner.Project() || !d.ID.Valid() {
			t.Errorf("claimed device %+v", d)
		}
		pub, csr := w.request()
		c, err := w.fleet.Enroll(ctx, "LH-0001", code, csr)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subject.CommonName != string(d.ID) || len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://"+domain+"/d/"+string(d.ID) {
			t.Errorf("the certificate names %s %v", c.Subject, c.URIs)
		}
		if !c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(pub) {
			t.Error("the certificate is of another key")
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: w.cas, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			t.Errorf("the certificate does not verify: %v", err)
		}
		rec, err := w.db.Certificate(ctx, pki.KeyHash(c))
		if err != nil || rec.Device != d.ID || rec.Project != d.Project || rec.State != lh.DeviceEnrolled || rec.Serial != c.SerialNumber.Text(16) {
			t.Errorf("on record is %+v, %v", rec, err)
		}

		// The answer may be lost: the same key asks again, as often as it must.
		for range 2 {
			again, err := w.fleet.Enroll(ctx, "LH-0001", code, csr)
			if err != nil || pki.KeyHash(again) != pki.KeyHash(c) {
				t.Fatalf("the same key asks again: %v", err)
			}
			c = again
		}
		if rec, err := w.db.Certificate(ctx, pki.KeyHash(c)); err != nil || rec.Serial != c.SerialNumber.Text(16) {
			t.Errorf("on record is not the newest certificate: %+v, %v", rec, err)
		}
		// Another key gets nothing for a code that is used up.
		_, other := w.request()
		_, err = w.fleet.Enroll(ctx, "LH-0001", code, other)
		w.want("another key with the used code", err, lh.Unauthenticated)
		_, err = w.fleet.Claim(ctx, w.owner, "LH-0001", code, lh.Device{Name: "x"})
		w.want("claim with the used code", err, lh.Conflict)
	})
}

// TestWrongAnswersAreAlike: who guesses serials or codes learns nothing from the text.
func TestWrongAnswersAreAlike(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-0002")
		w.claim("LH-0002", code)
		unclaimed := w.list("LH-0003")
		_, csr := w.request()
		var texts []string
		for _, try := range [][2]string{{"LH-0002", "AAAA-AAAA-AAAA-AAAA-AAAA"}, {"LH-9999", code}, {"LH-9999", "x"}, {"LH-0003", code}, {"LH-0002", unclaimed},
			{"", code}, {"LH-0002", ""}, {"LH-0002\x00", code}, {"é", code}, {strings.Repeat("x", 65), code}, {"LH-0002", strings.Repeat("x", 1<<16)}} {
			_, err := w.fleet.Enroll(ctx, try[0], try[1], csr)
			w.want(fmt.Sprintf("enrol %.20q %.20q", try[0], try[1]), err, lh.Unauthenticated)
			if err != nil {
				texts = append(texts, err.Error())
			}
		}
		for _, text := range texts {
			if text != texts[0] {
				w.t.Errorf("one refusal reads %q, another %q", texts[0], text)
			}
		}
		_, err1 := w.fleet.Claim(ctx, w.owner, "LH-0003", code, lh.Device{Name: "x"})
		_, err2 := w.fleet.Claim(ctx, w.owner, "LH-9999", code, lh.Device{Name: "x"})
		_, err3 := w.fleet.Claim(ctx, w.owner, "bad serial\n", code, lh.Device{Name: "x"})
		w.want("claim with a wrong code", err1, lh.Invalid)
		if err1 == nil || err2 == nil || err3 == nil || err1.Error() != err2.Error() || err2.Error() != err3.Error() {
			w.t.Errorf("claims are refused with %v, %v, %v", err1, err2, err3)
		}
		// After all the wrong tries the right code still works.
		if _, err := w.fleet.Enroll(ctx, "LH-0002", code, csr); err != nil {
			w.t.Errorf("the right code after wrong ones: %v", err)
		}
	})
}

// TestRequestsAreHostile: nothing but a good request of a good key gets a certificate, and the code stays good.
func TestRequestsAreHostile(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-1")
		w.claim("LH-1", code)
		_, good := w.request()
		flipped := append([]byte{}, good...)
		flipped[len(flipped)-1] ^= 1
		for name, csr := range map[string][]byte{"none": nil, "noise": []byte("noise"), "cut": good[:len(good)-1], "long": append(append([]byte{}, good...), 0),
			"signature": flipped, "certificate": w.root.Raw, "huge": make([]byte, 1<<20)} {
			_, err := w.fleet.Enroll(ctx, "LH-1", code, csr)
			w.want(name, err, lh.Invalid)
		}
		if _, err := w.fleet.Enroll(ctx, "LH-1", code, good); err != nil {
			w.t.Errorf("the good request after bad ones: %v", err)
		}
	})
}

// TestRevoked: out at once and for good, until it is claimed anew with a new code and a new key.
func TestRevoked(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-1")
		d := w.claim("LH-1", code)
		_, csr := w.request()
		c, err := w.fleet.Enroll(ctx, "LH-1", code, csr)
		if err != nil {
			w.t.Fatal(err)
		}
		viewer := store.NewScope(w.owner.Project(), lh.RoleViewer, lh.Actor{Kind: lh.ActorUser, ID: "v"})
		w.want("a viewer revokes", w.fleet.Revoke(ctx, viewer, d.ID), lh.Forbidden)
		w.want("another project revokes", w.fleet.Revoke(ctx, storetest.Project(w.t, w.db), d.ID), lh.NotFound)
		if len(w.cut) != 0 {
			w.t.Error("a refused revocation cut the device off")
		}
		if err := w.fleet.Revoke(ctx, w.owner, d.ID); err != nil {
			w.t.Fatal(err)
		}
		if len(w.cut) != 1 || w.cut[0] != d.ID {
			w.t.Errorf("cut off: %v", w.cut)
		}
		if rec, err := w.db.Certificate(ctx, pki.KeyHash(c)); err != nil || rec.Revoked == 0 || rec.State != lh.DeviceRevoked {
			w.t.Errorf("on record: %+v, %v", rec, err)
		}
		_, err = w.fleet.Enroll(ctx, "LH-1", code, csr)
		w.want("the same key enrols again", err, lh.Forbidden)
		_, err = w.fleet.Reenroll(ctx, deviceScope(d.Project, d.ID), d.ID, csr)
		w.want("it renews", err, lh.Forbidden)

		fresh := w.list("LH-1")
		_, err = w.fleet.Enroll(ctx, "LH-1", fresh, csr)
		w.want("a new code without a claim", err, lh.Forbidden)
		back := w.claim("LH-1", fresh)
		if back.ID != d.ID {
			w.t.Errorf("claimed anew it is %s, was %s", back.ID, d.ID)
		}
		_, err = w.fleet.Enroll(ctx, "LH-1", fresh, csr)
		w.want("its revoked key", err, lh.Conflict)
		_, newer := w.request()
		if _, err := w.fleet.Enroll(ctx, "LH-1", fresh, newer); err != nil {
			w.t.Errorf("a new key: %v", err)
		}
		if rec, err := w.db.Certificate(ctx, pki.KeyHash(c)); err != nil || rec.Revoked == 0 {
			w.t.Errorf("the revoked certificate came back to life: %+v, %v", rec, err)
		}
	})
}

func TestRenewal(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-1")
		d := w.claim("LH-1", code)
		_, csr := w.request()
		if _, err := w.fleet.Enroll(ctx, "LH-1", code, csr); err != nil {
			w.t.Fatal(err)
		}
		own := deviceScope(d.Project, d.ID)
		same, err := w.fleet.Reenroll(ctx, own, d.ID, csr)
		if err != nil {
			w.t.Fatalf("renew with the same key: %v", err)
		}
		_, next := w.request()
		c, err := w.fleet.Reenroll(ctx, own, d.ID, next)
		if err != nil {
			w.t.Fatalf("renew with a new key: %v", err)
		}
		if c.SerialNumber.Cmp(same.SerialNumber) == 0 || c.SerialNumber.Cmp(new(big.Int)) <= 0 {
			w.t.Error("serial numbers repeat")
		}
		other := w.list("LH-2")
		e := w.claim("LH-2", other)
		_, err = w.fleet.Reenroll(ctx, own, e.ID, next)
		w.want("renew as another device", err, lh.NotFound)
		_, err = w.fleet.Reenroll(ctx, deviceScope(e.Project, e.ID), e.ID, next)
		w.want("with a key that is another device's", err, lh.Conflict)
		_, err = w.fleet.Enroll(ctx, "LH-2", other, next)
		w.want("enrol with a key that is another device's", err, lh.Conflict)
		_, fresh := w.request()
		if _, err := w.fleet.Enroll(ctx, "LH-2", other, fresh); err != nil {
			w.t.Errorf("the refused key used the code up: %v", err)
		}
	})
}

// TestEnrolRace: many keys with one code; one gets through.
func TestEnrolRace(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-1")
		w.claim("LH-1", code)
		var mu sync.Mutex
		var won int
		var wg sync.WaitGroup
		for range 8 {
			_, csr := w.request()
			wg.Go(func() {
				_, err := w.fleet.Enroll(ctx, "LH-1", code, csr)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else {
					w.want("a loser", err, lh.Unauthenticated)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			w.t.Errorf("%d keys were enrolled with one code", won)
		}
	})
}

// TestClaimRace: two projects claim one device; one gets it.
func TestClaimRace(t *testing.T) {
	each(t, func(w *world) {
		scopes := []store.Scope{w.owner, storetest.Project(w.t, w.db), storetest.Project(w.t, w.db)}
		for i := range 5 {
			serial := fmt.Sprint("LH-", i)
			code := w.list(serial)
			var wg sync.WaitGroup
			errs := make([]error, len(scopes))
			for k, sc := range scopes {
				wg.Go(func() { _, errs[k] = w.fleet.Claim(ctx, sc, serial, code, lh.Device{Name: "x", MaxOffline: 60}) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else {
					w.want("the loser", err, lh.Conflict)
				}
			}
			if won != 1 {
				w.t.Errorf("%d projects got one device: %v", won, errs)
			}
		}
		n := 0
		for _, sc := range scopes {
			ds, err := w.db.Devices(ctx, sc)
			if err != nil {
				w.t.Fatal(err)
			}
			n += len(ds)
		}
		if n != 5 {
			w.t.Errorf("5 devices are %d in the projects", n)
		}
	})
}

func TestManifestBindsChannels(t *testing.T) {
	each(t, func(w *world) {
		code := w.list("LH-1")
		d := w.claim("LH-1", code)
		own := deviceScope(d.Project, d.ID)
		m := wire.Manifest{Version: "1.2.3", Hardware: "lh-sim-1", Channels: []wire.ManifestChannel{
			{Key: "1/water_level", Name: "Level", Quantity: "water_level", Unit: "m", Digits: 3, Interval: 60000, Meaning: lh.PrecedingMean},
			{Key: "2/x"},
		}}
		got, err := w.fleet.Manifest(ctx, own, d.ID, m)
		if err != nil || got.Device != d.ID || got.Project != d.Project || got.Time == 0 {
			w.t.Fatalf("%+v, %v", got, err)
		}
		es, err := w.db.DeviceElements(ctx, own, d.ID)
		if err != nil || len(es) != 2 {
			w.t.Fatalf("%+v, %v", es, err)
		}
		if e := es[0]; e.Channel != "1/water_level" || e.Name != "Level" || e.Unit != "m" || e.Digits != 3 || e.Interval != 60000 || e.Meaning != lh.PrecedingMean {
			w.t.Errorf("element %+v", e)
		}
		if e := es[1]; e.Name != "2/x" || e.Meaning != lh.Instantaneous || !regexp.MustCompile(`^#[0-9a-f]{6}$`).MatchString(e.Color) {
			w.t.Errorf("element of a bare channel %+v", e)
		}
		// What a person called it stays; what only the device knows follows the device.
		es[0].Name, es[0].Unit = "Pegel", "cm"
		if err := w.db.ChangeElement(ctx, w.owner, es[0]); err != nil {
			w.t.Fatal(err)
		}
		m.Channels[0].Interval = 1000
		if _, err := w.fleet.Manifest(ctx, own, d.ID, m); err != nil {
			w.t.Fatal(err)
		}
		e, err := w.db.Element(ctx, w.owner, es[0].ID)
		if err != nil || e.Name != "Pegel" || e.Unit != "cm" || e.Interval != 1000 {
			w.t.Errorf("after a second manifest: %+v, %v", e, err)
		}
		if dev, err := w.db.Device(ctx, w.owner, d.ID); err != nil || dev.Firmware != "1.2.3" || dev.LastSeen == 0 {
			w.t.Errorf("device after its manifest: %+v, %v", dev, err)
		}
		_, err = w.fleet.Manifest(ctx, own, lh.NewDeviceID(), m)
		w.want("a manifest for another device", err, lh.NotFound)
		m.Channels = append(m.Channels, m.Channels[0])
		_, err = w.fleet.Manifest(ctx, own, d.ID, m)
		w.want("a channel twice", err, lh.Invalid)

		by, err := w.fleet.Bind(ctx, own, d.ID, []string{"2/x", "3/y"})
		if err != nil || by["2/x"] != es[1].ID || !by["3/y"].Valid() || len(by) != 3 {
			w.t.Errorf("bind: %v, %v", by, err)
		}
		var wg sync.WaitGroup // two uploads at once make one element
		bound := make([]lh.ElementID, 4)
		for i := range bound {
			wg.Go(func() {
				by, err := w.fleet.Bind(ctx, own, d.ID, []string{"4/z"})
				if err != nil {
					w.t.Errorf("bind at once: %v", err)
				}
				bound[i] = by["4/z"]
			})
		}
		wg.Wait()
		for _, id := range bound {
			if id != bound[0] || id == "" {
				w.t.Errorf("one channel has the elements %v", bound)
			}
		}
	})
}

func TestList(t *testing.T) {
	each(t, func(w *world) {
		for _, s := range []string{"", " ", "a b", "a\n", "ø", strings.Repeat("x", 65), "a\x00"} {
			_, err := w.fleet.List(ctx, s, "hw")
			w.want(fmt.Sprintf("serial %.10q", s), err, lh.Invalid)
		}
		_, err := w.fleet.List(ctx, "A", strings.Repeat("x", 65))
		w.want("long hardware", err, lh.Invalid)
		_, err = w.fleet.List(ctx, "A", "\xff")
		w.want("hardware that is no text", err, lh.Invalid)
		a, b := w.list("A"), w.list("A")
		if a == b {
			w.t.Error("codes repeat")
		}
		_, err = w.fleet.Claim(ctx, w.owner, "A", a, lh.Device{Name: "x"})
		w.want("the replaced code", err, lh.Invalid)
		w.claim("A", b)
	})
}
