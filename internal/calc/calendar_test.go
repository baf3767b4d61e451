package calc_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

func calendar(t testing.TB, step, zone string) calc.Calendar {
	t.Helper()
	s, err := calc.ParseStep(step)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	c, err := calc.NewCalendar(s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t testing.TB, s string) lh.Millis {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return lh.MillisOf(v)
}

func TestCalendarCuts(t *testing.T) {
	for _, c := range []struct{ name, step, zone, t, start, next string }{
		{"utc day", "P1D", "UTC", "2024-02-29T12:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"before 1970", "P1D", "UTC", "1969-12-31T23:59:59.999Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"day of 23 hours", "P1D", "Europe/Copenhagen", "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"},
		{"day of 25 hours", "P1D", "Europe/Copenhagen", "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"},
		{"fixed offset", "P1D", "Etc/GMT-1", "2024-07-01T12:00:00Z", "2024-06-30T23:00:00Z", "2024-07-01T23:00:00Z"},
		{"first instant of a day", "P1D", "Europe/Copenhagen", "2024-06-30T22:00:00Z", "2024-06-30T22:00:00Z", "2024-07-01T22:00:00Z"},
		{"last instant of a day", "P1D", "Europe/Copenhagen", "2024-06-30T21:59:59.999Z", "2024-06-29T22:00:00Z", "2024-06-30T22:00:00Z"},
		{"midnight that is skipped", "P1D", "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"midnight that comes twice", "P1D", "America/Havana", "2024-11-03T12:00:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
		{"day that is skipped", "P1D", "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"day after it", "P1D", "Pacific/Apia", "2011-12-30T11:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"week", "P1W", "Europe/Copenhagen", "2024-03-31T21:00:00Z", "2024-03-24T23:00:00Z", "2024-03-31T22:00:00Z"},
		{"month", "P1M", "Europe/Copenhagen", "2024-03-31T21:59:59.999Z", "2024-02-29T23:00:00Z", "2024-03-31T22:00:00Z"},
		{"quarter", "P3M", "UTC", "2024-12-31T23:00:00Z", "2024-10-01T00:00:00Z", "2025-01-01T00:00:00Z"},
		{"year", "P1Y", "Australia/Lord_Howe", "2024-12-31T13:00:00Z", "2024-12-31T13:00:00Z", "2025-12-31T13:00:00Z"},
		{"hour in a zone of 45 minutes", "PT1H", "Asia/Kathmandu", "2024-01-01T00:20:00Z", "2024-01-01T00:15:00Z", "2024-01-01T01:15:00Z"},
		{"the hour shown first", "PT1H", "Europe/Copenhagen", "2024-10-27T00:30:00Z", "2024-10-27T00:00:00Z", "2024-10-27T01:00:00Z"},
		{"the hour shown again", "PT1H", "Europe/Copenhagen", "2024-10-27T01:30:00Z", "2024-10-27T01:00:00Z", "2024-10-27T02:00:00Z"},
		{"half an hour of change", "PT1H", "Australia/Lord_Howe", "2024-04-06T15:10:00Z", "2024-04-06T15:00:00Z", "2024-04-06T15:30:00Z"},
		{"6 hours with a change forth", "PT6H", "Europe/Copenhagen", "2024-03-31T00:30:00Z", "2024-03-30T23:00:00Z", "2024-03-31T04:00:00Z"},
		{"6 hours with a change back", "PT6H", "Europe/Copenhagen", "2024-10-27T00:30:00Z", "2024-10-26T22:00:00Z", "2024-10-27T05:00:00Z"},
		{"2 hours that begin twice", "PT2H", "Europe/Copenhagen", "2024-10-27T01:30:00Z", "2024-10-27T00:00:00Z", "2024-10-27T03:00:00Z"},
		{"quarter of an hour", "PT15M", "Asia/Kathmandu", "2024-01-01T00:20:00Z", "2024-01-01T00:15:00Z", "2024-01-01T00:30:00Z"},
		{"10 seconds", "PT10S", "UTC", "1969-12-31T23:59:51Z", "1969-12-31T23:59:50Z", "1970-01-01T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cal := calendar(t, c.step, c.zone)
			if got := cal.Start(at(t, c.t)); got != at(t, c.start) {
				t.Errorf("begins %s, want %s", got.Time(), c.start)
			}
			if got := cal.Next(at(t, c.t)); got != at(t, c.next) {
				t.Errorf("next begins %s, want %s", got.Time(), c.next)
			}
		})
	}
}

// Whatever the zone and the step: buckets join without hole or overlap, and every instant of one has the same start.
func TestCalendarIsAPartition(t *testing.T) {
	zones := []string{"UTC", "Europe/Copenhagen", "America/Sao_Paulo", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe",
		"Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Asia/Tehran", "Antarctica/Troll"}
	for _, zone := range zones {
		for _, step := range []string{"PT10S", "PT5M", "PT30M", "PT1H", "PT2H", "PT6H", "PT12H", "P1D", "P3D", "P1W", "P1M", "P3M", "P1Y"} {
			cal := calendar(t, step, zone)
			for _, from := range []string{"1969-12-31T20:00:00Z", "2011-12-28T00:00:00Z", "2018-11-03T00:00:00Z", "2024-03-09T20:00:00Z", "2024-03-30T20:00:00Z", "2024-04-06T10:00:00Z", "2024-10-26T20:00:00Z", "2024-11-02T20:00:00Z"} {
				start := cal.Start(at(t, from))
				for range 60 {
					next := cal.Next(start)
					if next <= start {
						t.Fatalf("%s %s: after %s comes %s", zone, step, start.Time(), next.Time())
					}
					for _, inside := range []lh.Millis{start, start + 1, start + (next-start)/2, start + (next-start)/3*2, next - 1} {
						if inside >= next {
							continue
						}
						if got := cal.Start(inside); got != start {
							t.Fatalf("%s %s: %s is in the bucket of %s, want %s", zone, step, inside.Time(), got.Time(), start.Time())
						}
						if got := cal.Next(inside); got != next {
							t.Fatalf("%s %s: after %s comes %s, want %s", zone, step, inside.Time(), got.Time(), next.Time())
						}
					}
					start = next
				}
			}
		}
	}
}

func TestParseStep(t *testing.T) {
	for _, s := range []string{"PT1S", "PT15M", "PT60M", "PT24H", "P1D", "P7D", "P1W", "P3M", "P10Y"} {
		step, err := calc.ParseStep(s)
		if err != nil || step.String() != s {
			t.Errorf("%s is read as %s: %v", s, step, err)
		}
	}
	for _, s := range []string{"", "P", "PT", "PT0M", "PT-1M", "PT+5M", "PT7M", "PT5H", "P5M", "P2W", "1h", "P1DT1H", "PT1.5H", "P1d", "PT99999999999M", "P1H", "PT1D"} {
		if step, err := calc.ParseStep(s); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%q is taken as %v: %v", s, step, err)
		}
	}
}
