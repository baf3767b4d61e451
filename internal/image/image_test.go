package image

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sampleKey(t testing.TB, name string) Key {
	t.Helper()
	k, err := ParsePublicKeyPEM(sample(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t testing.TB, k crypto.Signer) Key {
	t.Helper()
	p, err := NewKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSamples reads what MCUboot's own tool made.
func TestSamples(t *testing.T) {
	payload := sample(t, "payload.bin")
	ec, ed := sampleKey(t, "ec.pub.pem"), sampleKey(t, "ed.pub.pem")
	for _, c := range []struct {
		file     string
		key      Key
		version  Version
		counter  int // -1 is none
		hardware string
		size     int
	}{
		{"ec-plain.img", ec, Version{1, 2, 3, 4}, -1, "", 4759},
		{"ed-plain.img", ed, Version{1, 2, 3, 4}, -1, "", 4752},
		{"ec-seccnt9-hw.img", ec, Version{1, 2, 3, 4}, 9, "gw-1", 4779},
		{"ed-seccnt9-hw.img", ed, Version{1, 2, 3, 4}, 9, "gw-1", 4772},
		{"ec-dep-fullkey.img", ec, Version{2, 0, 0, 0}, 10, "", 4845},
		{"ed-dep-fullkey.img", ed, Version{2, 0, 0, 0}, 10, "", 4792},
		{"ec-padded-test.img", ec, Version{2, 0, 0, 0}, 10, "", 32768 - 27996},
		{"ed-padded-test.img", ed, Version{2, 0, 0, 0}, 10, "", 32768 - 28004},
		{"ed-pure.img", ed, Version{1, 0, 0, 0}, 1, "", 4833},
	} {
		im, err := Parse(sample(t, c.file))
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if im.Version != c.version || im.Hardware != c.hardware || im.Size != c.size || !bytes.Equal(im.Payload, payload) {
			t.Errorf("%s: version %s, hardware %q, size %d, payload of %d bytes", c.file, im.Version, im.Hardware, im.Size, len(im.Payload))
		}
		if im.HasCounter != (c.counter >= 0) || c.counter >= 0 && im.Counter != uint32(c.counter) {
			t.Errorf("%s: counter %d %v", c.file, im.Counter, im.HasCounter)
		}
		if k, err := im.Authenticate([]Key{{}, ec, ed}); err != nil || k.ID() != c.key.ID() {
			t.Errorf("%s: signer %s, %v", c.file, k.ID(), err)
		}
		others := []Key{{}, public(t, ecKey(t)), public(t, edKey(t))}
		for _, keys := range [][]Key{nil, others} {
			if _, err := im.Authenticate(keys); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: with foreign keys: %v", c.file, err)
			}
		}
	}
	im, err := Parse(sample(t, "unsigned.img"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Authenticate([]Key{ec, ed}); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), "not signed at all") {
		t.Errorf("unsigned: %v", err)
	}
}

func TestPolicy(t *testing.T) {
	keys := []Key{sampleKey(t, "ec.pub.pem"), sampleKey(t, "ed.pub.pem")}
	key := edKey(t)
	data, err := Sign([]byte("x"), SignOptions{Key: key, Hardware: "gw-1", Dependencies: []Dependency{{1, Version{9, 0, 0, 0}}, {1, Version{9, 1, 0, 0}}, {2, Version{}}}})
	if err != nil {
		t.Fatal(err)
	}
	dep, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	depKeys := []Key{public(t, key)}
	read := func(name string) *Image {
		im, err := Parse(sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return im
	}
	hw, plain, counted := read("ec-seccnt9-hw.img"), read("ed-plain.img"), read("ed-pure.img")
	for name, c := range map[string]struct {
		im   *Image
		keys []Key
		want Policy
		err  error
	}{
		"older counter stored": {hw, keys, Policy{Hardware: "gw-1", MinCounter: 8}, nil},
		"same counter stored":  {hw, keys, Policy{Hardware: "gw-1", MinCounter: 9}, nil},
		"newer counter stored": {hw, keys, Policy{Hardware: "gw-1", MinCounter: 10}, ErrRollback},
		"other hardware":       {hw, keys, Policy{Hardware: "gw-2"}, ErrHardware},
		"prefix of hardware":   {hw, keys, Policy{Hardware: "gw-"}, ErrHardware},
		"no hardware asked":    {hw, keys, Policy{}, ErrHardware},
		"no hardware named":    {counted, keys, Policy{Hardware: "gw-1"}, ErrHardware},
		"nothing named":        {plain, keys, Policy{Hardware: "gw-1"}, ErrHardware},
		"no key":               {hw, nil, Policy{Hardware: "gw-1"}, ErrSignature},
		"not parsed":           {&Image{Hardware: "gw-1", HasCounter: true}, keys, Policy{Hardware: "gw-1"}, ErrSignature},
		"dependency unmet":     {dep, depKeys, Policy{Hardware: "gw-1"}, ErrDependency},
		"dependency too old":   {dep, depKeys, Policy{Hardware: "gw-1", Installed: map[uint8]Version{1: {9, 0, 65535, 1}, 2: {}}}, ErrDependency},
		"one of two":           {dep, depKeys, Policy{Hardware: "gw-1", Installed: map[uint8]Version{1: {9, 1, 0, 0}}}, ErrDependency},
		"dependencies met":     {dep, depKeys, Policy{Hardware: "gw-1", Installed: map[uint8]Version{1: {9, 1, 0, 0}, 2: {}}}, nil},
	} {
		if err := c.im.Verify(c.keys, c.want); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

// TestSignLikeImgtool makes the sample images anew; all that is signed must be the same bytes, and so must the hash.
func TestSignLikeImgtool(t *testing.T) {
	theirs := sample(t, "ec-seccnt9-hw.img")
	ours, err := Sign(sample(t, "payload.bin"), SignOptions{Key: ecKey(t), Version: Version{1, 2, 3, 4}, Counter: 9, Hardware: "gw-1", HeaderSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	const signed = 512 + 4096 + 20
	if !bytes.Equal(ours[:signed], theirs[:signed]) {
		t.Error("the signed part differs")
	}
	if !bytes.Equal(ours[signed+4:signed+4+36], theirs[signed+4:signed+4+36]) {
		t.Error("the hash TLV differs")
	}
}

func TestSign(t *testing.T) {
	payload := bytes.Repeat([]byte("firmware"), 1000)
	ec, ed := ecKey(t), edKey(t)
	for name, o := range map[string]SignOptions{
		"ECDSA": {Key: ec}, "ECDSA, full key": {Key: ec, FullKey: true}, "Ed25519": {Key: ed}, "Ed25519, full key": {Key: ed, FullKey: true},
		"Ed25519, pure": {Key: ed, Pure: true}, "pure, full key": {Key: ed, Pure: true, FullKey: true}, "large header": {Key: ec, HeaderSize: 0xffff},
	} {
		o.Hardware, o.Counter, o.Version, o.LoadAddr = "lh-sim-1", 0xfffffffe, Version{255, 254, 65533, 4294967292}, 0x8000000
		data, err := Sign(payload, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		im, err := Parse(append(data, bytes.Repeat([]byte{0xff}, 100)...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(im.Payload, payload) || im.Version != o.Version || im.Counter != o.Counter || im.LoadAddr != o.LoadAddr || im.Size != len(data) {
			t.Errorf("%s: read back %+v", name, im)
		}
		if err := im.Verify([]Key{public(t, o.Key)}, Policy{Hardware: "lh-sim-1", MinCounter: 0xfffffffe}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	for name, c := range map[string]struct {
		payload []byte
		o       SignOptions
	}{
		"no key": {payload, SignOptions{Hardware: "x"}}, "no payload": {nil, SignOptions{Key: ec, Hardware: "x"}},
		"no hardware": {payload, SignOptions{Key: ec}}, "hardware with a space": {payload, SignOptions{Key: ec, Hardware: "a b"}},
		"P-384": {payload, SignOptions{Key: p384, Hardware: "x"}}, "RSA": {payload, SignOptions{Key: rsaKey, Hardware: "x"}},
		"pure ECDSA": {payload, SignOptions{Key: ec, Hardware: "x", Pure: true}}, "header": {payload, SignOptions{Key: ec, Hardware: "x", HeaderSize: 31}},
		"large header": {payload, SignOptions{Key: ec, Hardware: "x", HeaderSize: 65536}}, "large": {make([]byte, MaxSize), SignOptions{Key: ec, Hardware: "x"}},
		"faulty token": {payload, SignOptions{Key: faulty{ed}, Hardware: "x"}},
	} {
		if _, err := Sign(c.payload, c.o); err == nil {
			t.Errorf("%s: was signed", name)
		}
	}
}

// faulty signs something else than it was asked to.
type faulty struct{ ed25519.PrivateKey }

func (f faulty) Sign(r io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	return f.PrivateKey.Sign(r, append(message, 0), o)
}

// TestEveryByteCounts flips each bit-carrying byte of small images: none may verify, whatever it does to the reading.
func TestEveryByteCounts(t *testing.T) {
	ec, ed := ecKey(t), edKey(t)
	for name, o := range map[string]SignOptions{"ECDSA": {Key: ec}, "ECDSA, full key": {Key: ec, FullKey: true}, "Ed25519": {Key: ed}, "pure": {Key: ed, Pure: true}} {
		o.Hardware, o.Counter = "gw-1", 3
		data, err := Sign([]byte("a payload"), o)
		if err != nil {
			t.Fatal(err)
		}
		keys := []Key{public(t, ec), public(t, ed)}
		for i := range data {
			for _, bit := range []byte{1, 0x80} {
				data[i] ^= bit
				if im, err := Parse(data); err == nil {
					if err := im.Verify(keys, Policy{Hardware: "gw-1", MinCounter: 3}); err == nil {
						t.Errorf("%s: byte %d ^ %#x still verifies", name, i, bit)
					}
				}
				data[i] ^= bit
			}
		}
		for n := range data {
			if im, err := Parse(data[:n]); err == nil {
				t.Errorf("%s: cut to %d bytes it still reads as %+v", name, n, im)
			}
		}
	}
}

// raw builds an image by hand and signs it, whatever nonsense it holds.
type raw struct {
	flags                        uint32
	header, protectedSize, total int // -1 is what is right
	protected, extra             [][]byte
	protectedMagic, magic        uint16
	noCounter                    bool
}

func tlv(kind uint16, v ...byte) []byte { return appendTLV(nil, kind, v) }

func (r raw) build(t testing.TB, key ed25519.PrivateKey) []byte {
	t.Helper()
	k := public(t, key)
	list := slices.Clone(r.protected)
	if !r.noCounter {
		list = append([][]byte{tlv(tlvCounter, 5, 0, 0, 0), tlv(tlvHardware, []byte("gw-1")...)}, list...)
	}
	area := appendArea(nil, r.protectedMagic, bytes.Join(list, nil))
	le := binary.LittleEndian
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, uint16(r.header))
	size := len(area)
	if r.protectedSize >= 0 {
		size = r.protectedSize
	}
	b = le.AppendUint16(b, uint16(size))
	b = le.AppendUint32(b, 8)
	b = le.AppendUint32(b, r.flags)
	b = append(b, make([]byte, 12)...)
	b = append(b, "payload!"...)
	b = append(b, area...)
	tail, err := signature(b, k, SignOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	tail = append(tail, bytes.Join(r.extra, nil)...)
	end := appendArea(nil, r.magic, tail)
	if r.total >= 0 {
		le.PutUint16(end[2:], uint16(r.total))
	}
	return append(b, end...)
}

// TestRefusesForm: each of these is signed by the trusted key, and yet is not read.
func TestRefusesForm(t *testing.T) {
	key := edKey(t)
	good := raw{header: 32, protectedSize: -1, total: -1, protectedMagic: protectedMagic, magic: areaMagic}
	verify := func(data []byte) error {
		im, err := Parse(data)
		if err != nil {
			return err
		}
		return im.Verify([]Key{public(t, key)}, Policy{Hardware: "gw-1", MinCounter: 5})
	}
	with := func(change func(*raw)) []byte {
		r := good
		change(&r)
		return r.build(t, key)
	}
	for name, data := range map[string][]byte{
		"as it should be":      with(func(*raw) {}),
		"memory flags":         with(func(r *raw) { r.flags = flagRAMLoad | flagROMFixed }),
		"a vendor's TLV":       with(func(r *raw) { r.protected = [][]byte{tlv(0x12a1, 1)} }),
		"boot record":          with(func(r *raw) { r.protected = [][]byte{tlv(tlvBootRecord, 1, 2)} }),
		"trailing flash bytes": append(with(func(*raw) {}), 0xff, 0, 1),
	} {
		if err := verify(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range map[string][]byte{
		"encrypted, AES-128":         with(func(r *raw) { r.flags = 0x04 }),
		"encrypted, AES-256":         with(func(r *raw) { r.flags = 0x08 }),
		"not bootable":               with(func(r *raw) { r.flags = 0x10 }),
		"compressed":                 with(func(r *raw) { r.flags = 0x400 }),
		"unknown flag":               with(func(r *raw) { r.flags = 1 << 31 }),
		"short header":               with(func(r *raw) { r.header = 31 }),
		"no header":                  with(func(r *raw) { r.header = 0 }),
		"long header":                with(func(r *raw) { r.header = 65535 }),
		"two counters":               with(func(r *raw) { r.protected = [][]byte{tlv(tlvCounter, 6, 0, 0, 0)} }),
		"two hardware ids":           with(func(r *raw) { r.protected = [][]byte{tlv(tlvHardware, 'x')} }),
		"long counter":               with(func(r *raw) { r.noCounter = true; r.protected = [][]byte{tlv(tlvCounter, 5, 0, 0, 0, 0)} }),
		"empty hardware id":          with(func(r *raw) { r.noCounter = true; r.protected = [][]byte{tlv(tlvHardware)} }),
		"hardware id with NUL":       with(func(r *raw) { r.noCounter = true; r.protected = [][]byte{tlv(tlvHardware, 'a', 0)} }),
		"malformed dependency":       with(func(r *raw) { r.protected = [][]byte{tlv(tlvDependency, 1)} }),
		"unknown condition":          with(func(r *raw) { r.protected = [][]byte{tlv(0x80, 1)} }),
		"compressed size":            with(func(r *raw) { r.protected = [][]byte{tlv(0x70, 1)} }),
		"signature, protected":       with(func(r *raw) { r.protected = [][]byte{tlv(tlvEd25519, make([]byte, 64)...)} }),
		"half a TLV, protected":      with(func(r *raw) { r.protected = [][]byte{{1, 2}} }),
		"TLV past its area":          with(func(r *raw) { r.protected = [][]byte{{0xa1, 0, 0xff, 0xff}} }),
		"protected area not said":    with(func(r *raw) { r.protectedSize = 0 }),
		"protected area said short":  with(func(r *raw) { r.protectedSize = 10 }),
		"protected area said long":   with(func(r *raw) { r.protectedSize = 65535 }),
		"protected magic":            with(func(r *raw) { r.protectedMagic = areaMagic }),
		"magic":                      with(func(r *raw) { r.magic = protectedMagic }),
		"counter outside":            with(func(r *raw) { r.noCounter = true; r.extra = [][]byte{tlv(tlvCounter, 5, 0, 0, 0)} }),
		"hardware id outside":        with(func(r *raw) { r.extra = [][]byte{tlv(tlvHardware, 'x')} }),
		"vendor's TLV outside":       with(func(r *raw) { r.extra = [][]byte{tlv(0x12a1, 1)} }),
		"encryption key outside":     with(func(r *raw) { r.extra = [][]byte{tlv(0x32, 1)} }),
		"two signatures of a kind":   with(func(r *raw) { r.extra = [][]byte{tlv(tlvEd25519, make([]byte, 64)...)} }),
		"two signatures":             with(func(r *raw) { r.extra = [][]byte{tlv(tlvECDSA, 1, 2, 3)} }),
		"two hashes":                 with(func(r *raw) { r.extra = [][]byte{tlv(tlvSHA512, make([]byte, 64)...)} }),
		"key named twice":            with(func(r *raw) { r.extra = [][]byte{tlv(tlvPublicKey, public(t, key).der...)} }),
		"said to be pure and is not": with(func(r *raw) { r.extra = [][]byte{tlv(tlvPure, 1)} }),
		"pure, malformed":            with(func(r *raw) { r.extra = [][]byte{tlv(tlvPure, 2)} }),
		"area of no size":            with(func(r *raw) { r.total = 0 }),
		"area of 3 bytes":            with(func(r *raw) { r.total = 3 }),
		"area of its header":         with(func(r *raw) { r.total = 4 }),
		"area past the end":          with(func(r *raw) { r.total = 65535 }),
		"no counter":                 with(func(r *raw) { r.noCounter = true; r.protected = [][]byte{tlv(tlvHardware, []byte("gw-1")...)} }),
		"empty":                      {},
		"too large":                  make([]byte, MaxSize+1),
	} {
		if verify(data) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, size := range []uint32{0, 0x7fffffff, 0xffffffff, 0xffffffe0} { // overflows, were sums of 32 bits made
		data := with(func(*raw) {})
		binary.LittleEndian.PutUint32(data[12:], size)
		if _, err := Parse(data); !errors.Is(err, ErrFormat) {
			t.Errorf("payload of %#x bytes: %v", size, err)
		}
	}
}

func TestParsePublicKey(t *testing.T) {
	for _, k := range []crypto.Signer{ecKey(t), edKey(t)} {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePublicKeyPEM(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		if err != nil || !bytes.Equal(got.der, der) || got.ID() != public(t, k).ID() {
			t.Errorf("%T: %v", k, err)
		}
	}
	good := sample(t, "ec.pub.pem")
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	der384, _ := x509.MarshalPKIXPublicKey(p384.Public())
	off, _ := pem.Decode(good)
	off.Bytes[len(off.Bytes)-1] ^= 1
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("key"), "two": append(bytes.Clone(good), good...), "junk after": append(bytes.Clone(good), 'x'),
		"junk before": append([]byte("x\n"), good...), "private": bytes.ReplaceAll(good, []byte("PUBLIC"), []byte("PRIVATE")),
		"cut": good[:100], "P-384": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der384}), "huge": make([]byte, maxPEM+1),
		"off the curve": pem.EncodeToMemory(off), "short Ed25519": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: prefixEd25519}),
	} {
		if _, err := ParsePublicKeyPEM(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	names, err := filepath.Glob("testdata/*.img")
	if err != nil || len(names) < 10 {
		f.Fatal(names, err)
	}
	for _, n := range names {
		b := sample(f, filepath.Base(n))
		f.Add(b[:min(len(b), 6000)])
	}
	key := edKey(f)
	f.Add(raw{header: 32, protectedSize: -1, total: -1, protectedMagic: protectedMagic, magic: areaMagic}.build(f, key))
	keys := []Key{sampleKey(f, "ec.pub.pem"), sampleKey(f, "ed.pub.pem")}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if im.Size > len(data) || len(im.Payload) == 0 || len(im.signed)+len(im.Payload) > 2*len(data) {
			t.Fatalf("read past the end: %+v", im)
		}
		im.Verify(keys, Policy{Hardware: "gw-1"})
	})
}

func BenchmarkVerify10MB(b *testing.B) {
	payload := make([]byte, 10<<20)
	rand.Read(payload)
	ec, ed := ecKey(b), edKey(b)
	for name, o := range map[string]SignOptions{"ecdsa": {Key: ec}, "ed25519": {Key: ed}, "ed25519-pure": {Key: ed, Pure: true}} {
		o.Hardware = "gw-1"
		data, err := Sign(payload, o)
		if err != nil {
			b.Fatal(err)
		}
		keys := []Key{public(b, o.Key)}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				im, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if err := im.Verify(keys, Policy{Hardware: "gw-1"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
