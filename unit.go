package loggerhead

import "strings"

// Units says in which units a project's people want to read values, whatever the devices measure in.
type Units struct {
	// System is "metric", "us" or "imperial"; "" shows values as they were measured.
	System string `json:"system,omitempty"`
	// Quantities are units of single quantities by their names, such as "temperature": "[degF]", before those of the
	// system.
	Quantities map[string]string `json:"quantities,omitempty"`
}

// UnitSystems are the systems [Units] may name beside none.
var UnitSystems = []string{"metric", "us", "imperial"}

// Bounds of [Units].
const (
	MaxQuantities = 100
	maxQuantity   = 64 // bytes of a name
	maxUnit       = 32 // bytes of a code
)

// Check refuses what names no system or has not the form of a unit.
func (u Units) Check() error {
	switch u.System {
	case "", "metric", "us", "imperial":
	default:
		return Errorf(Invalid, "there is no system of units %q; it is %s, or empty for values as they were measured", u.System, strings.Join(UnitSystems, ", "))
	}
	if len(u.Quantities) > MaxQuantities {
		return Errorf(Invalid, "at most %d quantities have a unit of their own", MaxQuantities)
	}
	for q, unit := range u.Quantities {
		if len(q) == 0 || len(q) > maxQuantity {
			return Errorf(Invalid, "a quantity's name has 1 to %d bytes", maxQuantity)
		}
		if !ValidUnit(unit) {
			return Errorf(Invalid, "%q, for %s, is no UCUM code; write for example Cel, [degF], m3/s or mm", unit, q)
		}
	}
	return nil
}

// ValidUnit reports whether s has the form of a code of the Unified Code for Units of Measure, case sensitive
// (UCUM 2.2, §2.1 and §2.3): terms of symbols with exponents, in products and quotients, with brackets and
// annotations. Whether each symbol is in UCUM's tables is not asked.
func ValidUnit(s string) bool {
	if len(s) == 0 || len(s) > maxUnit {
		return false
	}
	rest, ok := unitTerm(strings.TrimPrefix(s, "/"), 0)
	return ok && rest == ""
}

// unitTerm takes a term off s: components with a point or a slash between each.
func unitTerm(s string, depth int) (rest string, ok bool) {
	if depth > 8 {
		return s, false
	}
	for {
		if s, ok = unitComponent(s, depth); !ok {
			return s, false
		}
		if s == "" || s[0] != '.' && s[0] != '/' {
			return s, true
		}
		s = s[1:]
	}
}

func unitComponent(s string, depth int) (rest string, ok bool) {
	if inner, is := strings.CutPrefix(s, "("); is {
		if s, ok = unitTerm(inner, depth+1); !ok {
			return s, false
		}
		return strings.CutPrefix(s, ")")
	}
	symbol := unitSymbol(s)
	rest = s[symbol:]
	number := 0
	for number < len(rest) && (rest[number] >= '0' && rest[number] <= '9' || number == 0 && symbol > 0 && (rest[0] == '+' || rest[0] == '-')) {
		number++
	}
	if number == 1 && (rest[0] == '+' || rest[0] == '-') {
		return rest, false // a sign of nothing
	}
	rest = rest[number:]
	note := false
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 || strings.ContainsFunc(rest[1:end], func(r rune) bool { return r < '!' || r > '~' || r == '{' }) {
			return rest, false
		}
		rest, note = rest[end+1:], true
	}
	return rest, symbol > 0 || number > 0 || note
}

// unitSymbol returns the length of the symbol s begins with: letters and signs, and square brackets with what is in
// them. Digits within a symbol other than in square brackets occur only in 10* and 10^.
func unitSymbol(s string) int {
	if strings.HasPrefix(s, "10*") || strings.HasPrefix(s, "10^") {
		return 3
	}
	n := 0
	for n < len(s) {
		c := s[n]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '%', c == '\'', c == '"', c == '_', c == '*', c == '^':
			n++
		case c == '[':
			end := strings.IndexByte(s[n:], ']')
			if end < 2 || strings.ContainsFunc(s[n+1:n+end], func(r rune) bool { return r < '!' || r > '~' || strings.ContainsRune("[](){}", r) }) {
				return 0
			}
			n += end + 1
		default:
			return n
		}
	}
	return n
}
