package loggerhead_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestRoles holds who may do what to the table of the design, written out by hand.
func TestRoles(t *testing.T) {
	want := map[lh.Role]string{
		lh.RoleViewer:        "read",
		lh.RoleEditor:        "read configure",
		lh.RoleAdministrator: "read configure administer",
		lh.RoleOwner:         "read configure administer destroy",
		lh.RoleDevice:        "append",
		lh.RoleHub:           "read maintain",
		"":                   "",
		"Viewer":             "",
		"operator":           "",
	}
	for r, perms := range want {
		for _, p := range append(lh.Permissions, "", "everything") {
			has := p != "" && strings.Contains(" "+perms+" ", " "+string(p)+" ")
			if r.Allows(p) != has {
				t.Errorf("role %q may %q: %v", r, p, !has)
			}
		}
	}
	for _, r := range []lh.Role{lh.RoleViewer, lh.RoleEditor, lh.RoleAdministrator, lh.RoleOwner} {
		if !r.Valid() {
			t.Errorf("%s cannot be granted", r)
		}
	}
	for _, r := range []lh.Role{"", lh.RoleDevice, lh.RoleHub, "operator", "OWNER", "owner "} {
		if r.Valid() {
			t.Errorf("%q can be granted", r)
		}
	}
}

func TestCodes(t *testing.T) {
	want := map[lh.Code][2]int{ // HTTP, exit
		lh.Invalid: {400, 2}, lh.Unauthenticated: {401, 3}, lh.Forbidden: {403, 3}, lh.NotFound: {404, 4},
		lh.Conflict: {409, 5}, lh.Stale: {412, 5}, lh.Exhausted: {429, 6}, lh.Unavailable: {503, 6}, lh.Internal: {500, 1},
	}
	if len(lh.Codes) != len(want) {
		t.Errorf("there are %d codes, the table has %d", len(lh.Codes), len(want))
	}
	for _, c := range lh.Codes {
		if got := [2]int{c.HTTPStatus(), c.ExitStatus()}; got != want[c] {
			t.Errorf("%s: HTTP and exit status %v, want %v", c, got, want[c])
		}
	}
	if lh.Code("").ExitStatus() != 0 || lh.Code("new").HTTPStatus() != 500 || lh.Code("new").ExitStatus() != 1 {
		t.Error("no code is success to a shell; an unknown one is our fault")
	}
}

func TestErrors(t *testing.T) {
	secret := errors.New("password=hunter2")
	hidden := fmt.Errorf("read x: %w", lh.Hide(lh.Unavailable, secret, "come later"))
	for _, c := range []struct {
		err    error
		code   lh.Code
		public string
	}{
		{nil, "", ""},
		{secret, lh.Internal, "something failed inside the hub; its log says what"},
		{lh.Hide(lh.Internal, secret, "table users is gone"), lh.Internal, "something failed inside the hub; its log says what"},
		{hidden, lh.Unavailable, "come later"},
		{lh.Errorf(lh.NotFound, "no %s", "x"), lh.NotFound, "no x"},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", lh.Errorf(lh.Conflict, "twice"))), lh.Conflict, "twice"},
		{errors.Join(secret, lh.Errorf(lh.Invalid, "bad")), lh.Invalid, "bad"},
		{fmt.Errorf("x: %w", context.Canceled), lh.Unavailable, "the hub cannot do this right now; try again later"},
		{context.DeadlineExceeded, lh.Unavailable, "the hub cannot do this right now; try again later"},
	} {
		if got := lh.CodeOf(c.err); got != c.code {
			t.Errorf("code of %v: %q, want %q", c.err, got, c.code)
		}
		if c.err == nil {
			continue
		}
		got := lh.PublicMessage(c.err)
		if got != c.public {
			t.Errorf("public message of %v: %q, want %q", c.err, got, c.public)
		}
		if strings.Contains(got, "hunter2") {
			t.Errorf("a cause is told in public: %q", got)
		}
	}
	if !errors.Is(hidden, secret) || !strings.Contains(hidden.Error(), "hunter2") {
		t.Error("the log does not get the cause")
	}
}

func TestIDs(t *testing.T) {
	fresh := map[string]func() string{
		"prj_": func() string { return string(lh.NewProjectID()) }, "loc_": func() string { return string(lh.NewLocationID()) },
		"dev_": func() string { return string(lh.NewDeviceID()) }, "elm_": func() string { return string(lh.NewElementID()) },
		"usr_": func() string { return string(lh.NewUserID()) }, "ses_": func() string { return string(lh.NewSessionID()) },
		"aud_": func() string { return string(lh.NewAuditID()) },
	}
	for prefix, f := range fresh {
		seen := map[string]bool{}
		for range 1000 {
			id := f()
			if !strings.HasPrefix(id, prefix) || len(id) != 20 || strings.ToLower(id) != id || strings.ContainsAny(id[4:], "ilou_") || seen[id] {
				t.Fatalf("id %q", id)
			}
			seen[id] = true
		}
	}
	valid := func(s string) []bool {
		return []bool{lh.ProjectID(s).Valid(), lh.LocationID(s).Valid(), lh.DeviceID(s).Valid(), lh.ElementID(s).Valid(), lh.UserID(s).Valid()}
	}
	for i, prefix := range []string{"prj_", "loc_", "dev_", "elm_", "usr_"} {
		want := make([]bool, 5)
		want[i] = true
		if got := valid(fresh[prefix]()); !reflect.DeepEqual(got, want) {
			t.Errorf("a fresh %s id is valid as %v", prefix, got)
		}
	}
	for _, s := range []string{"", "prj_", "prj_0123456789abcde", "prj_0123456789abcdefg", "prj_0123456789abcdeF", "prj_0123456789abcdel",
		"PRJ_0123456789abcdef", "0123456789abcdef", "prj_0123456789abcd\n\n", "prj_0123456789abcde\x00", "prj_0123456789abcdé", " prj_0123456789abcdef"} {
		for i, ok := range valid(s) {
			if ok {
				t.Errorf("%q is valid as kind %d", s, i)
			}
		}
	}
}

// TestDay cuts random and awkward instants into UTC days and compares with the calendar.
func TestDay(t *testing.T) {
	at := []lh.Millis{0, 1, -1, lh.DayMillis, lh.DayMillis - 1, -lh.DayMillis, -lh.DayMillis - 1, -lh.DayMillis + 1, lh.MinMillis, lh.MaxMillis}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		at = append(at, lh.MinMillis+lh.Millis(r.Int64N(int64(lh.MaxMillis-lh.MinMillis)+1)), lh.Millis(r.Int64N(10*lh.DayMillis)-5*lh.DayMillis))
	}
	for _, m := range at {
		tm := m.Time()
		midnight := time.Date(tm.Year(), tm.Month(), tm.Day(), 0, 0, 0, 0, time.UTC)
		if got := lh.DayStart(m.Day()); got != lh.MillisOf(midnight) {
			t.Fatalf("%s (%d) is of the day that begins at %s", tm, m, got.Time())
		}
		if m < lh.DayStart(m.Day()) || m >= lh.DayStart(m.Day()+1) {
			t.Fatalf("%d is outside its own day %d", m, m.Day())
		}
		if lh.MillisOf(tm) != m {
			t.Fatalf("%d comes back as %d", m, lh.MillisOf(tm))
		}
	}
	if lh.MinMillis.Time() != time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC) || lh.MaxMillis.Time() != time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC) {
		t.Error("the range is not the years 1 to 9999")
	}
}

func TestFlagsAndMeanings(t *testing.T) {
	for f := range 256 {
		want := f >= 1 && f <= 4 || f == 9
		if lh.Flag(f).Valid() != want {
			t.Errorf("flag %d valid: %v", f, !want)
		}
	}
	if !lh.Instantaneous.Valid() || !lh.Counter.Valid() || lh.Meaning("").Valid() || lh.Meaning("mean").Valid() {
		t.Error("meanings")
	}
}

func TestRanks(t *testing.T) {
	order := []lh.Rank{lh.RankOf(0, 0), lh.RankOf(0, 1), lh.RankOf(0, 1<<32-1), lh.RankOf(1, 0), lh.RankOf(1<<31, 5), lh.RankOf(1<<32-1, 1<<32-1)}
	for i := 1; i < len(order); i++ {
		if order[i-1] >= order[i] {
			t.Errorf("rank %d is not above rank %d", i, i-1)
		}
	}
}

func TestOnline(t *testing.T) {
	d := lh.Device{MaxOffline: 60, LastSeen: 1000}
	for now, want := range map[lh.Millis]bool{1000: true, 61000: true, 61001: false, 0: true} {
		if d.Online(now) != want {
			t.Errorf("online at %d: %v", now, !want)
		}
	}
	if (lh.Device{MaxOffline: 60}).Online(10) {
		t.Error("a device never heard of is online")
	}
}

func TestEmails(t *testing.T) {
	for _, s := range []string{"a@b.example", "Ana.Larsen+x@mail.example.org", "o'neil@b.co"} {
		if !lh.ValidEmail(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{"", "ana", "ana@", "@b.example", "a@b", "a@b.", "a@.b", "a@b..c", "a@b.example ", " a@b.example", "Ana <a@b.example>", "<a@b.example>",
		"a@b.example, c@d.example", "a@b.example\r\nBcc: x@y.example", "a b@c.example", `"a b"@c.example`, "a@[192.0.2.1]", "a@b.exa\x00mple",
		"a@b@c.example", "a@b.example(comment)", strings.Repeat("x", 250) + "@b.example"} {
		if lh.ValidEmail(s) {
			t.Errorf("%q is taken", s)
		}
	}
}
