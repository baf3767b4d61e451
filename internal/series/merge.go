package series

import (
	"cmp"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// normalize sorts samples by time and leaves one for each: the one of greatest rank. The others go behind lost, unless
// that is nil; the same write (time and rank) twice is one. It works in place.
func normalize(s []lh.Sample, lost *[]lh.Sample) []lh.Sample {
	sorted := true
	for i := 1; i < len(s); i++ {
		if s[i-1].Time >= s[i].Time {
			sorted = false
			break
		}
	}
	if sorted {
		return s
	}
	slices.SortStableFunc(s, func(a, b lh.Sample) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		case a.Rank < b.Rank:
			return -1
		case a.Rank > b.Rank:
			return 1
		}
		return 0
	})
	out := s[:0]
	for i := range s {
		if i+1 < len(s) && s[i+1].Time == s[i].Time {
			if lost != nil && s[i+1].Rank != s[i].Rank {
				*lost = append(*lost, s[i])
			}
			continue
		}
		out = append(out, s[i])
	}
	return out
}

// merge joins two normalized runs into dst[:0]; where both have a time, the greater rank stands, and b's of equal ones.
// The write that does not stand goes behind lost, unless that is nil or it is the same write.
func merge(dst, a, b []lh.Sample, lost *[]lh.Sample) []lh.Sample {
	dst = dst[:0]
	lose := func(s lh.Sample) {
		if lost != nil {
			*lost = append(*lost, s)
		}
	}
	if len(b) == 0 {
		return append(dst, a...)
	}
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].Time < b[0].Time:
			dst, a = append(dst, a[0]), a[1:]
			continue
		case a[0].Time > b[0].Time:
			dst, b = append(dst, b[0]), b[1:]
			continue
		case a[0].Rank > b[0].Rank:
			dst = append(dst, a[0])
			lose(b[0])
		case a[0].Rank < b[0].Rank:
			dst = append(dst, b[0])
			lose(a[0])
		default:
			dst = append(dst, b[0])
		}
		a, b = a[1:], b[1:]
	}
	return append(append(dst, a...), b...)
}

// compareWrites orders writes by time, those of one time by rank.
func compareWrites(a, b lh.Sample) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Rank, b.Rank))
}

// position returns the index of the first sample at or after t of a sorted run.
func position(s []lh.Sample, t lh.Millis) int {
	i, _ := slices.BinarySearchFunc(s, t, func(p lh.Sample, t lh.Millis) int { return cmp.Compare(p.Time, t) })
	return i
}

// clip returns the part of a sorted run that lies in [from, to).
func clip(s []lh.Sample, from, to lh.Millis) []lh.Sample {
	if from >= to {
		return nil
	}
	return s[position(s, from):position(s, to)]
}
