package api

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
)

// Bounds of one datalog question.
const (
	consibioMaxElements = 25
	consibioMaxDays     = 180
)

// errConsibioBroken says that an answer broke off after its first bytes were sent.
var errConsibioBroken = errors.New("the answer broke off")

// parseConsibioNumber reads a number as scripts send it. R writes 1.72e+09, whose + is a space once it is decoded.
func parseConsibioNumber(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSpace(text), " ", "+"), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, lh.Errorf(lh.Invalid, "%.40q is no number", text)
	}
	return v, nil
}

// instant reads a time in seconds, down to the millisecond.
func (c *consibioCall) instant(name string) (lh.Millis, error) {
	text := c.query.get(name)
	if text == "" {
		return 0, lh.Errorf(lh.Invalid, "%s is missing: a time in Unix seconds", name)
	}
	v, err := parseConsibioNumber(text)
	if err != nil {
		return 0, lh.Errorf(lh.Invalid, "%s: %.40q is no time in Unix seconds", name, text)
	}
	ms := math.Round(v * 1000)
	if ms < float64(lh.MinMillis) || ms > float64(lh.MaxMillis) {
		return 0, lh.Errorf(lh.Invalid, "%s: %.40q is no time in Unix seconds", name, text)
	}
	return lh.Millis(ms), nil
}

// consibioRange is what a datalog question asks for: from is included, to is not.
type consibioRange struct {
	from, to lh.Millis
	interval lh.Millis // 0: every sample
}

func (c *consibioCall) timeRange() (consibioRange, error) {
	var r consibioRange
	var err error
	if r.from, err = c.instant("from_time"); err != nil {
		return r, err
	}
	if r.to, err = c.instant("to_time"); err != nil {
		return r, err
	}
	if r.from > r.to {
		return r, lh.Errorf(lh.Invalid, "from_time lies after to_time")
	}
	if r.to-r.from > consibioMaxDays*lh.DayMillis {
		return r, lh.Errorf(lh.Invalid, "from_time and to_time lie more than %d days apart; ask for one part after the other", consibioMaxDays)
	}
	if text := c.query.get("interval"); text != "" && text != "null" && text != "undefined" {
		seconds, err := parseConsibioNumber(text)
		if err != nil || seconds < 0 || seconds > 366*86400 {
			return r, lh.Errorf(lh.Invalid, "interval: %.40q is no number of seconds", text)
		}
		r.interval = lh.Millis(math.Round(seconds * 1000))
	}
	return r, nil
}

// wanted returns the elements that are asked for and seen. What is unknown, or not the asker's, is left out like what
// has no data; where nothing is left there is nothing to find.
func (c *consibioCall) wanted() ([]lh.Element, error) {
	var ids []lh.ElementID
	for part := range strings.SplitSeq(c.query.raw("elements"), ";") { // before it is decoded
		text, err := url.QueryUnescape(part)
		if err != nil {
			return nil, lh.Errorf(lh.Invalid, "elements: %.40q cannot be read", part)
		}
		for id := range strings.SplitSeq(text, ";") { // a library may have escaped it
			if id := lh.ElementID(strings.TrimSpace(id)); id != "" && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			if len(ids) > consibioMaxElements {
				return nil, lh.Errorf(lh.Invalid, "elements: at most %d elements at a time", consibioMaxElements)
			}
		}
	}
	if len(ids) == 0 {
		return nil, lh.Errorf(lh.Invalid, "elements is missing: ids, joined by ;")
	}
	var es []lh.Element
	for _, id := range ids {
		e, err := c.api.DB.Element(c.r.Context(), c.scope, id)
		if lh.CodeOf(err) == lh.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		es = append(es, e)
	}
	if len(es) == 0 {
		return nil, lh.Errorf(lh.NotFound, "none of these elements is there")
	}
	return es, nil
}

// consibioDatalog answers with the samples of some elements, ascending, as they are read.
func consibioDatalog(c *consibioCall) error {
	r, err := c.timeRange()
	if err != nil {
		return err
	}
	es, err := c.wanted()
	if err != nil {
		return err
	}
	return c.stream(func(out *bufio.Writer) error {
		out.WriteString(`{"payload":{`) // bufio keeps the error for the next
		written := 0
		for _, e := range es {
			n := 0
			line := make([]byte, 0, 64)
			err := c.points(e, r, func(t lh.Millis, v float64) error {
				line = line[:0]
				if n == 0 { // an element without data has no key
					if written > 0 {
						line = append(line, ',')
					}
					line = append(strconv.AppendQuote(line, string(e.ID)), `:[`...)
					written++
				} else {
					line = append(line, ',')
				}
				n++
				line = appendSeconds(append(line, `{"t":`...), t)
				line = append(appendFloat(append(line, `,"v":`...), v), '}')
				_, err := out.Write(line)
				return err
			})
			if err != nil {
				return err
			}
			if n > 0 {
				out.WriteByte(']')
			}
		}
		_, err := out.WriteString(`},"status":"ok"}`)
		return err
	})
}

// consibioDatalogV1 answers with the samples of one element.
func consibioDatalogV1(c *consibioCall) error {
	e, err := c.api.DB.Element(c.r.Context(), c.scope, lh.ElementID(c.query.get("element_id")))
	if err != nil {
		return err
	}
	r, err := c.timeRange()
	if err != nil {
		return err
	}
	return c.stream(func(out *bufio.Writer) error {
		out.WriteString(`{"payload":[`) // bufio keeps the error for the next
		sep := ""
		line := make([]byte, 0, 64)
		err := c.points(e, r, func(t lh.Millis, v float64) error {
			line = append(line[:0], sep...)
			sep = ","
			line = appendSeconds(append(line, `{"time":`...), t)
			line = append(appendFloat(append(line, `,"val":`...), v), '}')
			_, err := out.Write(line)
			return err
		})
		if err != nil {
			return err
		}
		_, err = out.WriteString(`],"status":"ok"}`)
		return err
	})
}

// stream writes an answer of any length as it is made. An error before the first byte is answered like any other; one
// after it cuts the connection, so that nobody takes half an answer for the whole.
func (c *consibioCall) stream(write func(*bufio.Writer) error) error {
	patient := c.api.patientWriter(c.w)
	out := bufio.NewWriterSize(consibioBody{c, patient}, 32<<10)
	err := write(out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil && c.status != 0 {
		if c.r.Context().Err() == nil {
			c.api.Log.ErrorContext(c.r.Context(), "answer cut off", "project", c.scope.Project(), "path", c.r.URL.Path, "err", err)
		}
		return fmt.Errorf("%w: %w", errConsibioBroken, err)
	}
	return err
}

// consibioBody writes the head before the first piece of a body.
type consibioBody struct {
	call *consibioCall
	to   *stallWriter
}

func (b consibioBody) Write(p []byte) (int, error) {
	if b.call.status == 0 {
		b.call.status = 200
		b.call.w.Header().Set("Content-Type", "application/json")
	}
	return b.to.Write(p)
}

// points hands fn an element's samples as people see them: corrected, without what is bad or missing, for these APIs
// have no word for that and a script would take it for good. With an interval it is one point for each that has a sample.
func (c *consibioCall) points(e lh.Element, r consibioRange, fn func(lh.Millis, float64) error) error {
	b := newConsibioBuckets(e, r.interval, fn)
	read := int64(0)
	defer func() { c.api.Access.Count(c.principal, classSeries, 0, read) }()
	for s, err := range c.api.Series.ReadView(c.r.Context(), c.scope, e, r.from, r.to, series.View{}) {
		if err != nil {
			return err
		}
		read++
		if s.Flag >= lh.FlagBad {
			continue
		}
		if err := b.add(s); err != nil {
			return err
		}
	}
	return b.flush()
}

// consibioBuckets makes one point of each interval, which begins at a multiple of itself since 1970 and gives the point
// its time. What the point is follows the element: a sum of sums, the least of least values, the newest of a counter, the
// mean direction of directions, else the mean.
type consibioBuckets struct {
	width lh.Millis
	ends  bool // a sample's time ends what it stands for, so that one at a bucket's beginning is of the bucket before
	kind  lh.Meaning
	turns bool
	emit  func(lh.Millis, float64) error

	n       int
	start   lh.Millis
	mean    float64 // kept as a mean, so that it cannot overflow
	value   float64
	heading calc.Wind
}

func newConsibioBuckets(e lh.Element, width lh.Millis, emit func(lh.Millis, float64) error) *consibioBuckets {
	b := &consibioBuckets{width: width, kind: e.Meaning, emit: emit}
	switch e.Meaning {
	case lh.PrecedingMean, lh.PrecedingSum, lh.PrecedingMin, lh.PrecedingMax:
		b.ends = true
	}
	b.turns = e.Unit == "deg" && strings.HasSuffix(e.Quantity, "direction")
	return b
}

func (b *consibioBuckets) add(s lh.Sample) error {
	if b.width <= 0 {
		return b.emit(s.Time, s.Value)
	}
	at := s.Time
	if b.ends {
		at--
	}
	rest := at % b.width
	if rest < 0 {
		rest += b.width
	}
	if start := at - rest; b.n == 0 || start != b.start {
		if err := b.flush(); err != nil {
			return err
		}
		b.start = start
	}
	b.n++
	b.mean += (s.Value - b.mean) / float64(b.n)
	switch {
	case b.turns:
		b.heading.AddDirection(s.Value)
	case b.n == 1 || b.kind == lh.Counter:
		b.value = s.Value
	case b.kind == lh.PrecedingSum:
		b.value += s.Value
	case b.kind == lh.PrecedingMin:
		b.value = min(b.value, s.Value)
	case b.kind == lh.PrecedingMax:
		b.value = max(b.value, s.Value)
	}
	return nil
}

func (b *consibioBuckets) flush() error {
	if b.n == 0 {
		return nil
	}
	v := b.mean
	switch {
	case b.turns:
		v = b.heading.MeanDirection()
	case b.kind == lh.PrecedingSum, b.kind == lh.PrecedingMin, b.kind == lh.PrecedingMax, b.kind == lh.Counter:
		v = b.value
	}
	start := b.start
	b.n, b.mean, b.value, b.heading = 0, 0, 0, calc.Wind{}
	if math.IsNaN(v) || math.IsInf(v, 0) { // directions that cancel out, a sum that is too great: no value
		return nil
	}
	return b.emit(start, v)
}
