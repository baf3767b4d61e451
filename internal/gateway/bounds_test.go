package gateway

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// address is the i-th of many remote addresses.
func address(i int) netip.Prefix {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

func TestTriesAreBounded(t *testing.T) {
	var tr tries
	now := time.Unix(1_700_000_000, 0)
	one := address(1)
	for i := range triesBurst {
		if !tr.take(now, one) {
			t.Fatalf("try %d is refused", i)
		}
	}
	if tr.take(now, one) {
		t.Error("one try too many")
	}
	if !tr.take(now, address(2)) {
		t.Error("another address pays for it")
	}
	tr.giveBack(one)
	if !tr.take(now, one) || tr.take(now, one) {
		t.Error("a try given back is one try")
	}
	if now = now.Add(triesEvery); !tr.take(now, one) || tr.take(now, one) {
		t.Error("time gives one try back")
	}
	if now = now.Add(-time.Hour); tr.take(now, one) {
		t.Error("a clock set back gives tries")
	}
	now = now.Add(2 * time.Hour)
	for i := range 3 * maxTries { // a flood of addresses
		tr.take(now, address(1000+i))
	}
	if len(tr.by) > maxTries {
		t.Errorf("%d addresses are remembered", len(tr.by))
	}
	now = now.Add(triesEvery)
	if !tr.take(now, address(1<<30)) {
		t.Error("the flood is over, and a new address is still refused")
	}
}

func TestAdmission(t *testing.T) {
	a := admission{limits: Limits{Connections: 4, Strangers: 3, StrangersOfAddress: 2}}
	in := func(i int, want string) *guest {
		t.Helper()
		q, why := a.admit(address(i))
		if why != want {
			t.Errorf("address %d: %q, want %q", i, why, want)
		}
		return q
	}
	q1, q2 := in(1, ""), in(1, "")
	in(1, "strangers of address")
	q3 := in(2, "")
	in(3, "strangers")
	a.known(q1)
	a.known(q1) // says nothing new
	q4 := in(1, "")
	a.known(q2)
	in(9, "connections")
	for _, q := range []*guest{q1, q2, q3, q4, q4, q1} { // twice is once
		a.leave(q)
	}
	a.known(q3)
	if a.open != 0 || a.strangers != 0 || len(a.by) != 0 {
		t.Errorf("%d open, %d strangers, %d addresses are left", a.open, a.strangers, len(a.by))
	}
}

func TestReadBody(t *testing.T) {
	var b buffers
	for _, n := range []int{0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 300_000, 1 << 20} {
		want := bytes.Repeat([]byte{7}, n)
		for _, length := range []int64{int64(n), -1} {
			for _, r := range []io.Reader{bytes.NewReader(want), iotest.DataErrReader(bytes.NewReader(want)), iotest.HalfReader(bytes.NewReader(want))} {
				buf, got, err := b.read(r, length, 1<<20)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes announced as %d: %d %v", n, length, len(got), err)
				}
				b.put(buf)
			}
		}
	}
	for _, length := range []int64{-1, 0, 500, 1001, 1 << 40} { // whatever is announced, 1,001 bytes come
		buf, _, err := b.read(bytes.NewReader(make([]byte, 1001)), length, 1000)
		if lh.CodeOf(err) != lh.Invalid {
			t.Errorf("announced as %d: %v", length, err)
		}
		b.put(buf)
	}
	buf, _, err := b.read(iotest.ErrReader(errors.New("gone")), 10, 1000)
	if lh.CodeOf(err) != lh.Unavailable {
		t.Error(err)
	}
	b.put(buf)
}

// TestBuffers: what is lent is large enough, and what is accounted is what is lent.
func TestBuffers(t *testing.T) {
	var b buffers
	for _, n := range []int{0, 1, 1024, 1025, 1 << 16, 1<<20 + 1, maxPacket} {
		p := b.get(n)
		if len(*p) < n || len(*p) != b.size(n) {
			t.Errorf("%d bytes: %d are lent, %d accounted", n, len(*p), b.size(n))
		}
		b.put(p)
	}
}

func TestShort(t *testing.T) {
	for _, s := range []string{"", "plain", strings.Repeat("å", 500), strings.Repeat("x", maxReason+1), "bad \xff", strings.Repeat("\x80", 500)} {
		if got := short(s); len(got) > maxReason || !utf8.ValidString(got) || !strings.HasPrefix(s, strings.TrimRight(got, "?")) {
			t.Errorf("%.40q: %q", s, got)
		}
	}
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte("LHB1\x07\x00\x00\x00\x00\x00\x00\x00\x29\x00\x00\x00"))
	f.Add([]byte(` {"log":"0000000000000007"}`))
	f.Add([]byte("LHB1\x07\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		log, _ := peek(b)
		if log != 0 && (len(b) < 12 || binary.LittleEndian.Uint64(b[4:12]) != log) {
			t.Errorf("log %x", log)
		}
	})
}
