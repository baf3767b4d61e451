package api

import (
	"bytes"
	"math"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// InfluxDB line protocol, as clients of version 1 and 2 write it:
//
//	measurement[,tag=value…] field=value[,field=value…] [timestamp]
//
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ is what it says of itself.

// linePoint is one line.
type linePoint struct {
	line        int // counted from 1
	measurement string
	tags        []lineTag
	fields      []lineField
	time        int64 // in the precision of the whole
	timed       bool
}

type lineTag struct{ key, value string }

// lineField is one field; text is one that is no number.
type lineField struct {
	key   string
	value float64
	text  bool
}

// lineReader reads lines; each costs memory and time in proportion to its length.
type lineReader struct {
	data []byte
	i    int
	line int
}

// next returns the next point. done: there is none; an error concerns one line, and the next call goes on behind it.
func (r *lineReader) next() (p linePoint, done bool, err error) {
	for r.i < len(r.data) {
		switch c := r.data[r.i]; {
		case c == '\n':
			r.line++
			r.i++
		case c == ' ' || c == '\t' || c == '\r':
			r.i++
		case c == '#':
			r.skip()
		default:
			p = linePoint{line: r.line + 1}
			if why := r.point(&p); why != "" {
				r.skip()
				return p, false, lh.Errorf(lh.Invalid, "%s", why)
			}
			return p, false, nil
		}
	}
	return p, true, nil
}

// skip goes to the end of the line.
func (r *lineReader) skip() {
	if n := bytes.IndexByte(r.data[r.i:], '\n'); n >= 0 {
		r.i += n
	} else {
		r.i = len(r.data)
	}
}

// peek returns the byte that is next; a line break at the end of all.
func (r *lineReader) peek() byte {
	if r.i == len(r.data) {
		return '\n'
	}
	return r.data[r.i]
}

// name reads up to one of the bytes in ends, or a line break, that stands behind no backslash. A backslash takes itself
// away before what is in escaped, and stays before anything else.
func (r *lineReader) name(ends, escaped string) string {
	start := r.i
	var out []byte // nil while nothing was taken away
	for ; r.i < len(r.data); r.i++ {
		c := r.data[r.i]
		if c == '\\' && r.i+1 < len(r.data) && bytes.IndexByte([]byte(escaped), r.data[r.i+1]) >= 0 {
			if out == nil {
				out = append(make([]byte, 0, 64), r.data[start:r.i]...)
			}
			r.i++
			out = append(out, r.data[r.i])
			continue
		}
		if c == '\n' || c == '\r' || bytes.IndexByte([]byte(ends), c) >= 0 {
			break
		}
		if out != nil {
			out = append(out, c)
		}
	}
	if out == nil {
		return string(r.data[start:r.i])
	}
	return string(out)
}

// point reads a line; why is what is wrong with it.
func (r *lineReader) point(p *linePoint) (why string) {
	if p.measurement = r.name(", ", ", "); p.measurement == "" {
		return "it begins with no measurement"
	}
	for r.peek() == ',' {
		r.i++
		t := lineTag{key: r.name(",= ", ",= ")}
		if r.peek() != '=' || t.key == "" {
			return "a tag is not key=value"
		}
		r.i++
		if t.value = r.name(",= ", ",= "); t.value == "" || r.peek() == '=' {
			return "tag " + strconv.Quote(t.key) + " has no value"
		}
		p.tags = append(p.tags, t)
	}
	if r.peek() != ' ' {
		return "it ends behind its measurement and tags: fields are missing"
	}
	for r.peek() == ' ' {
		r.i++
	}
	for {
		f := lineField{key: r.name(",= ", ",= ")}
		if r.peek() != '=' || f.key == "" {
			return "a field is not key=value"
		}
		r.i++
		if why := r.value(&f); why != "" {
			return why
		}
		p.fields = append(p.fields, f)
		if r.peek() != ',' {
			break
		}
		r.i++
	}
	for r.peek() == ' ' {
		r.i++
	}
	if text := r.name("", ""); text != "" {
		text = string(bytes.TrimRight([]byte(text), " \t"))
		t, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "its time is no whole number of 64 bits"
		}
		p.time, p.timed = t, true
	}
	if r.peek() == '\r' {
		r.i++
	}
	if r.peek() != '\n' {
		return "something stands behind its end"
	}
	return ""
}

// value reads a field's value.
func (r *lineReader) value(f *lineField) (why string) {
	if r.peek() == '"' {
		f.text = true
		for r.i++; r.i < len(r.data); r.i++ {
			switch r.data[r.i] {
			case '\\':
				if r.i+1 < len(r.data) && (r.data[r.i+1] == '"' || r.data[r.i+1] == '\\') {
					r.i++
				}
			case '\n':
				r.line++
			case '"':
				r.i++
				if c := r.peek(); c != ',' && c != ' ' && c != '\n' && c != '\r' {
					return "something stands behind the text of field " + strconv.Quote(f.key)
				}
				return ""
			}
		}
		return "the text of field " + strconv.Quote(f.key) + " does not end"
	}
	text := r.name(", ", "")
	var ok bool
	if f.value, ok = lineNumber(text); !ok {
		return "the value of field " + strconv.Quote(f.key) + " is no number, truth value or quoted text"
	}
	return ""
}

// lineNumber reads a number, or a truth value as 1 or 0.
func lineNumber(s string) (float64, bool) {
	switch s {
	case "":
		return 0, false
	case "t", "T", "true", "True", "TRUE":
		return 1, true
	case "f", "F", "false", "False", "FALSE":
		return 0, true
	}
	switch n := len(s) - 1; s[n] {
	case 'i':
		v, err := strconv.ParseInt(s[:n], 10, 64)
		return float64(v), err == nil
	case 'u':
		v, err := strconv.ParseUint(s[:n], 10, 64)
		return float64(v), err == nil
	}
	for _, c := range s { // what Go reads beyond it: Inf, NaN, hexadecimal, 1_000
		if (c < '0' || c > '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' {
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// linePrecision returns how many of a unit, or parts of one, a millisecond is.
func linePrecision(name string) (perMilli, millis int64, ok bool) {
	switch name {
	case "", "ns", "n":
		return 1_000_000, 1, true
	case "us", "u", "µ", "µs":
		return 1_000, 1, true
	case "ms":
		return 1, 1, true
	case "s":
		return 1, 1_000, true
	case "m":
		return 1, 60_000, true
	case "h":
		return 1, 3_600_000, true
	}
	return 0, 0, false
}

// lineMillis turns a time of a precision into milliseconds, rounded down; ok is false where it is beyond all years.
func lineMillis(t, perMilli, millis int64) (lh.Millis, bool) {
	q := t / perMilli
	if t%perMilli < 0 {
		q--
	}
	if q > math.MaxInt64/millis || q < math.MinInt64/millis {
		return 0, false
	}
	m := lh.Millis(q * millis)
	return m, m >= lh.MinMillis && m <= lh.MaxMillis
}
