package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Options are what the fleet works with.
type Options struct {
	DB *store.DB
	// Issuer is the CA that signs device certificates, TrustDomain the name they are made under.
	Issuer      *pki.KeyPair
	TrustDomain string
	// DeviceScope gives a device its own scope once it has proven who it is.
	DeviceScope func(lh.ProjectID, lh.DeviceID) store.Scope
	// Cut ends a device's live connections; nil where there are none.
	Cut func(lh.DeviceID)
	Now func() time.Time // nil is time.Now
	Log *slog.Logger
}

// Fleet is safe for concurrent use.
type Fleet struct{ o Options }

// New returns a Fleet.
func New(o Options) *Fleet {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Cut == nil {
		o.Cut = func(lh.DeviceID) {}
	}
	return &Fleet{o: o}
}

var codeAlphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newClaimCode returns 100 random bits as five groups of four, easy to read from a label: XXXX-XXXX-XXXX-XXXX-XXXX.
func newClaimCode() string {
	var b [13]byte
	rand.Read(b[:]) // never fails
	s := codeAlphabet.EncodeToString(b[:])
	return strings.Join([]string{s[0:4], s[4:8], s[8:12], s[12:16], s[16:20]}, "-")
}

// claimHash is the hash of a claim code as the inventory keeps it; case, spaces, dashes and the letters that look like
// digits do not matter. A code has 100 random bits, so a plain hash cannot be searched.
func claimHash(code string) []byte {
	code = strings.ToUpper(code)
	code = strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1", "U", "V").Replace(code)
	h := sha256.Sum256([]byte("loggerhead claim " + code))
	return h[:]
}

const maxCode = 64

// CheckSerial refuses a serial that is empty, over 64 bytes, or has other than letters, digits and -._/ in it.
func CheckSerial(serial string) error {
	if serial == "" || len(serial) > 64 {
		return lh.Errorf(lh.Invalid, "a serial has 1 to 64 characters")
	}
	for _, r := range serial {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._/", r) {
			return lh.Errorf(lh.Invalid, "a serial has letters, digits and -._/ only")
		}
	}
	return nil
}

// List puts a device into the inventory, or gives a listed one a new claim code, and returns the code; it is told this
// once.
func (f *Fleet) List(ctx context.Context, serial, hardware string) (code string, err error) {
	if err := CheckSerial(serial); err != nil {
		return "", err
	}
	if len(hardware) > 64 || !utf8.ValidString(hardware) {
		return "", lh.Errorf(lh.Invalid, "a hardware id has at most 64 bytes of text")
	}
	code = newClaimCode()
	err = f.o.DB.AddInventory(ctx, []lh.Inventory{{Serial: serial, Hardware: hardware, ClaimHash: claimHash(code)}})
	return code, err
}

// Claim binds a listed device to the scope's project.
func (f *Fleet) Claim(ctx context.Context, sc store.Scope, serial, code string, d lh.Device) (lh.Device, error) {
	if CheckSerial(serial) != nil || len(code) > maxCode {
		return d, lh.Errorf(lh.Invalid, "serial and claim code do not fit; check both on the device's label")
	}
	return f.o.DB.ClaimDevice(ctx, sc, serial, claimHash(code), d)
}

// Claim is one device to be claimed by the code on its label.
type Claim struct {
	Serial, Code string
	Device       lh.Device // its name, location, longest silence, attributes and note
}

// ClaimAll claims all of them or none; see [store.DB.ClaimDevices].
func (f *Fleet) ClaimAll(ctx context.Context, sc store.Scope, claims []Claim, dry bool) ([]lh.Device, []store.RowError, error) {
	var refused []store.RowError
	in := make([]store.Claim, len(claims))
	for i, c := range claims {
		if CheckSerial(c.Serial) != nil || len(c.Code) > maxCode {
			refused = append(refused, store.RowError{Row: i, Err: lh.Errorf(lh.Invalid, "serial and claim code do not fit; check both on the device's label")})
		}
		in[i] = store.Claim{Serial: c.Serial, Hash: claimHash(c.Code), Device: c.Device}
	}
	if len(refused) > 0 {
		return nil, refused, nil
	}
	return f.o.DB.ClaimDevices(ctx, sc, in, dry)
}

// Enroll gives a claimed device its first certificate, for the serial and claim code on its box and a certificate
// request (DER) made on the device. The device's identity comes from the inventory, never from the request.
// Unauthenticated: serial and code do not fit, or the code is used up. Forbidden: nobody has claimed the device, or it
// is revoked.
func (f *Fleet) Enroll(ctx context.Context, serial, code string, csrDER []byte) (*x509.Certificate, error) {
	wrong := lh.Errorf(lh.Unauthenticated, "serial and claim code do not fit, or the code is used up")
	if CheckSerial(serial) != nil || len(code) > maxCode {
		return nil, wrong
	}
	csr, err := pki.ParseRequest(csrDER)
	if err != nil {
		return nil, err
	}
	it, err := f.o.DB.Inventory(ctx, serial)
	if lh.CodeOf(err) == lh.NotFound {
		return nil, wrong
	}
	if err != nil {
		return nil, err
	}
	hash := claimHash(code)
	if subtle.ConstantTimeCompare(hash, it.ClaimHash) != 1 {
		return nil, wrong
	}
	if it.Device == "" {
		return nil, lh.Errorf(lh.Forbidden, "this device is in no project yet: claim it in the web app with the code on its label")
	}
	c, err := f.issue(ctx, f.o.DeviceScope(it.Project, it.Device), it.Device, serial, hash, csr)
	if err == nil {
		f.o.Log.InfoContext(ctx, "device enrolled", "device", it.Device, "project", it.Project, "not_after", c.NotAfter)
	}
	return c, err
}

// Reenroll renews the certificate of a device that has proven itself with its present one.
func (f *Fleet) Reenroll(ctx context.Context, sc store.Scope, d lh.DeviceID, csrDER []byte) (*x509.Certificate, error) {
	csr, err := pki.ParseRequest(csrDER)
	if err != nil {
		return nil, err
	}
	return f.issue(ctx, sc, d, "", nil, csr)
}

// issue signs and records a certificate. It is on record, durably, before anybody has it: a certificate that the hub
// does not know opens nothing.
func (f *Fleet) issue(ctx context.Context, sc store.Scope, d lh.DeviceID, serial string, claim []byte, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	c, err := pki.IssueDevice(f.o.Issuer, f.o.TrustDomain, csr, d, f.o.Now())
	if err != nil {
		return nil, fmt.Errorf("issue certificate of %s: %w", d, err)
	}
	err = f.o.DB.AddCertificate(ctx, sc, serial, claim, store.Certificate{
		KeyHash: pki.KeyHash(c), Device: d, Serial: c.SerialNumber.Text(16), NotAfter: lh.MillisOf(c.NotAfter)})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Revoke bars a device for good and cuts its live connections.
func (f *Fleet) Revoke(ctx context.Context, sc store.Scope, d lh.DeviceID) error {
	if err := f.o.DB.RevokeDevice(ctx, sc, d); err != nil {
		return err
	}
	f.o.Log.InfoContext(ctx, "device revoked", "device", d, "project", sc.Project())
	f.o.Cut(d)
	return nil
}

// Cut ends the live connections of a device whose project is gone.
func (f *Fleet) Cut(id lh.DeviceID) { f.o.Cut(id) }

// Manifest takes what a device says of itself: its firmware is recorded and every channel gets an element.
func (f *Fleet) Manifest(ctx context.Context, sc store.Scope, d lh.DeviceID, m wire.Manifest) (wire.Welcome, error) {
	if err := m.Check(); err != nil {
		return wire.Welcome{}, err
	}
	want := make([]lh.Element, len(m.Channels))
	for i, c := range m.Channels {
		want[i] = lh.Element{Channel: c.Key, Name: c.Name, Quantity: c.Quantity, Unit: c.Unit, Digits: c.Digits,
			Interval: c.Interval, Meaning: c.Meaning, Color: colorOf(c.Quantity, i)}
		if want[i].Meaning == "" {
			want[i].Meaning = lh.Instantaneous
		}
		if want[i].Name == "" {
			want[i].Name = c.Key
		}
	}
	if _, err := f.o.DB.BindElements(ctx, sc, d, want); err != nil {
		return wire.Welcome{}, err
	}
	if err := f.o.DB.SetFirmware(ctx, sc, d, m.Version); err != nil {
		return wire.Welcome{}, err
	}
	now := lh.MillisOf(f.o.Now())
	if err := f.o.DB.TouchDevice(ctx, sc, d, store.DeviceSeen{At: now}); err != nil {
		return wire.Welcome{}, err
	}
	return wire.Welcome{Device: d, Project: sc.Project(), Time: now}, nil
}

// Bind returns the elements of a device by channel, making one for each of keys that has none: a device that sent no
// manifest loses no sample.
func (f *Fleet) Bind(ctx context.Context, sc store.Scope, d lh.DeviceID, keys []string) (map[string]lh.ElementID, error) {
	have, err := f.o.DB.DeviceElements(ctx, sc, d)
	if err != nil {
		return nil, err
	}
	by := make(map[string]lh.ElementID, len(have))
	for _, e := range have {
		by[e.Channel] = e.ID
	}
	var want []lh.Element
	for i, k := range keys {
		if _, ok := by[k]; !ok {
			want = append(want, lh.Element{Channel: k, Name: k, Digits: 3, Color: colorOf("", i)})
		}
	}
	if len(want) == 0 {
		return by, nil
	}
	all, err := f.o.DB.BindElements(ctx, sc, d, want)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		by[e.Channel] = e.ID
	}
	return by, nil
}

// quantityColors gives well-known quantities the colour people expect; palette serves the rest in turn. All of them
// stand out on white and on black.
var (
	quantityColors = map[string]string{
		"water_level": "#2b7bba", "discharge": "#1d63a8", "temperature": "#d1495b", "conductivity": "#7b5ea7",
		"rain": "#1f8a8c", "battery_voltage": "#6b8e23", "humidity": "#3a86a8",
	}
	palette = []string{"#3b75af", "#c8553d", "#588157", "#8e6c8a", "#b8860b", "#2a9d8f", "#9c6644", "#6d6875"}
)

func colorOf(quantity string, i int) string {
	if c, ok := quantityColors[quantity]; ok {
		return c
	}
	return palette[i%len(palette)]
}
