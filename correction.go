package loggerhead

import "math"

// CorrectionKind is what a correction does to the samples of its range.
type CorrectionKind string

const (
	// CorrectOffset adds A.
	CorrectOffset CorrectionKind = "offset"
	// CorrectFactor multiplies by A.
	CorrectFactor CorrectionKind = "factor"
	// CorrectDrift adds what grows in a straight line from A at From to B at To.
	CorrectDrift CorrectionKind = "drift"
	// CorrectDelete takes the samples away.
	CorrectDelete CorrectionKind = "delete"
	// CorrectFlag gives the samples the flag Flag.
	CorrectFlag CorrectionKind = "flag"
	// CorrectFill adds Samples where there are none.
	CorrectFill CorrectionKind = "fill"
)

// Correction is one entry of the stack of corrections on an element's series. It never touches what was measured: a
// reader sees the raw samples with the corrections that stand applied in the order of their numbers. A correction is
// never changed or removed, only revoked, so that the series can be read as it stood at any past moment.
type Correction struct {
	ID      CorrectionID
	Project ProjectID
	Element ElementID
	Number  int64  // place in the element's stack, from 1
	From    Millis // included
	To      Millis // excluded
	Kind    CorrectionKind
	A, B    float64
	Flag    Flag
	Samples []Sample // of a fill: ascending, within the range
	Comment string   // why

	Created   Millis
	By        Actor
	Revoked   Millis // 0: it stands
	RevokedBy Actor
}

// Bounds of one correction.
const (
	MaxFill    = 10_000 // samples
	MaxComment = 2000   // bytes
)

// Check refuses a correction that cannot be applied; the error says what to change.
func (c *Correction) Check() error {
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case c.From >= c.To || c.From < MinMillis || c.To > MaxMillis+1:
		return Errorf(Invalid, "a correction needs a range: from before to, both within the years 1 to 9999")
	case !finite(c.A) || !finite(c.B):
		return Errorf(Invalid, "a and b must be finite numbers")
	case len(c.Comment) > MaxComment:
		return Errorf(Invalid, "a comment has at most %d bytes", MaxComment)
	case len(c.Samples) > 0 && c.Kind != CorrectFill:
		return Errorf(Invalid, "only a fill has samples")
	}
	switch c.Kind {
	case CorrectOffset, CorrectFactor, CorrectDrift, CorrectDelete:
		return nil
	case CorrectFlag:
		if !c.Flag.Valid() {
			return Errorf(Invalid, "there is no flag %d; QARTOD has 1 good, 2 not evaluated, 3 suspect, 4 bad, 9 missing", c.Flag)
		}
		return nil
	case CorrectFill:
		if n := len(c.Samples); n == 0 || n > MaxFill {
			return Errorf(Invalid, "a fill has 1 to %d samples", MaxFill)
		}
		for i, s := range c.Samples {
			if s.Time < c.From || s.Time >= c.To || i > 0 && s.Time <= c.Samples[i-1].Time || !finite(s.Value) || !s.Flag.Valid() {
				return Errorf(Invalid, "sample %d of the fill is out of range, out of order, not finite or has no flag", i)
			}
		}
		return nil
	}
	return Errorf(Invalid, "there is no correction %q; there are offset, factor, drift, delete, flag and fill", c.Kind)
}

// Stood reports whether the correction stood at a moment.
func (c *Correction) Stood(at Millis) bool {
	return c.Created <= at && (c.Revoked == 0 || c.Revoked > at)
}

// Approval says that somebody vouches for an element's series in a range. Until it is revoked, readers see the range
// as it stood at Created, whatever arrives or is corrected later.
type Approval struct {
	ID        ApprovalID
	Project   ProjectID
	Element   ElementID
	From      Millis // included
	To        Millis // excluded
	Comment   string
	Created   Millis
	By        Actor
	Revoked   Millis // 0: it stands
	RevokedBy Actor
}

// Stood reports whether the approval stood at a moment.
func (a *Approval) Stood(at Millis) bool {
	return a.Created <= at && (a.Revoked == 0 || a.Revoked > at)
}
