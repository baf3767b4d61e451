package calc

import (
	"math"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Function takes one value out of a bucket's statistics; NaN where it has none.
type Function struct {
	Name string
	Of   func(*Stats) float64
}

// functions are all but the percentiles.
func functions() map[string]func(*Stats) float64 {
	used := func(f func(*Stats) float64) func(*Stats) float64 {
		return func(s *Stats) float64 {
			if s.Used == 0 {
				return math.NaN()
			}
			return f(s)
		}
	}
	return map[string]func(*Stats) float64{
		"mean": func(s *Stats) float64 { return s.Mean }, "sum": func(s *Stats) float64 { return s.Sum },
		"std_dev": func(s *Stats) float64 { return s.StdDev }, "increase": func(s *Stats) float64 { return s.Increase },
		"time_mean_linear":  func(s *Stats) float64 { return s.TimeMeanLinear },
		"time_mean_carried": func(s *Stats) float64 { return s.TimeMeanCarried },
		"min":               used(func(s *Stats) float64 { return s.Min.Value }), "max": used(func(s *Stats) float64 { return s.Max.Value }),
		"direction": func(s *Stats) float64 { return s.Direction }, "direction_std_dev": func(s *Stats) float64 { return s.DirectionDeviation },
		"first": used(func(s *Stats) float64 { return s.First.Value }), "last": used(func(s *Stats) float64 { return s.Last.Value }),
	}
}

// ParseFunctions reads functions by name: mean, min, max, sum, first, last, std_dev, time_mean_linear,
// time_mean_carried, increase, direction, direction_std_dev, p0 to p100; none is mean, min and max. o says what an
// [Aggregator] must keep for them. Invalid: there is none of a name.
func ParseFunctions(names []string) (fs []Function, o Options, err error) {
	if len(names) == 0 {
		names = []string{"mean", "min", "max"}
	}
	known := functions()
	o.Simple = true
	for _, n := range names {
		o.Directions = o.Directions || strings.HasPrefix(n, "direction")
		switch n {
		case "mean", "sum", "min", "max", "first", "last":
		default:
			o.Simple = false
		}
		if f := known[n]; f != nil {
			fs = append(fs, Function{n, f})
			continue
		}
		p, err := strconv.ParseFloat(strings.TrimPrefix(n, "p"), 64)
		if err != nil || !strings.HasPrefix(n, "p") || len(n) > 8 || !(p >= 0 && p <= 100) {
			return nil, o, lh.Errorf(lh.Invalid, "functions: there is no function %.40q", n)
		}
		i := len(o.Percentiles)
		o.Percentiles = append(o.Percentiles, p)
		fs = append(fs, Function{n, func(s *Stats) float64 { return s.Percentiles[i] }})
	}
	return fs, o, nil
}

// ParseZone reads a time zone: an IANA name, or a fixed offset such as +01:00. "" and "Local" are zones to Go, and mean
// nothing on a server.
func ParseZone(text string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", text); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(text, offset), nil
	}
	loc, err := time.LoadLocation(text)
	if err != nil || text == "" || text == "Local" {
		return nil, lh.Errorf(lh.Invalid, "there is no time zone %q; use an IANA name such as Europe/Copenhagen, UTC, or an offset such as +01:00", text)
	}
	return loc, nil
}
