package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// jsonBatch reads the JSON form, token by token, so that unknown and repeated keys are refused and nothing nests
// deeper than the format does:
//
//	{"log":"<16 hex>","first":1,"sent":1700000000000,
//	 "records":[{"t":1700000000000,"v":{"1/temperature":3.4},"f":{"1/temperature":3}}]}
type jsonBatch struct {
	d     *json.Decoder
	b     *Batch
	index map[string]uint16
	total int
}

func decodeJSON(b *Batch, data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	j := &jsonBatch{d: d, b: b, index: map[string]uint16{}}
	if err := j.read(); err != nil {
		if lh.CodeOf(err) == lh.Invalid {
			return err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return lh.Errorf(lh.Invalid, "JSON batch ends early")
		}
		return lh.Errorf(lh.Invalid, "JSON batch cannot be read: %v", err)
	}
	return b.check()
}

func (j *jsonBatch) read() error {
	err := j.object("the batch", func(key string) error {
		switch key {
		case "log":
			s, err := j.text(key)
			if err != nil {
				return err
			}
			if j.b.Log, err = strconv.ParseUint(s, 16, 64); err != nil || len(s) != 16 {
				return lh.Errorf(lh.Invalid, `"log" is not 16 hexadecimal digits`)
			}
			return nil
		case "first":
			n, err := j.integer(key)
			if n < 0 || n > math.MaxUint32 {
				return lh.Errorf(lh.Invalid, `"first" is not between 0 and 4294967295`)
			}
			j.b.First = uint32(n)
			return err
		case "sent":
			n, err := j.integer(key)
			if t := lh.Millis(n); t >= lh.MinMillis && t <= lh.MaxMillis {
				j.b.Sent = t
			}
			return err
		case "records":
			return j.array(key, j.record)
		}
		return lh.Errorf(lh.Invalid, `a batch has no %q; it has "log", "first", "sent" and "records"`, key)
	})
	if err != nil {
		return err
	}
	if _, err := j.d.Token(); !errors.Is(err, io.EOF) {
		return lh.Errorf(lh.Invalid, "something stands behind the JSON batch")
	}
	return nil
}

func (j *jsonBatch) record() error {
	b := j.b
	i := len(b.Records)
	if i >= MaxRecords {
		return lh.Errorf(lh.Invalid, "batch has more than %d records", MaxRecords)
	}
	b.Records = append(b.Records, Record{}) // the values of an earlier binary batch share their memory: none of it is used here
	r := &b.Records[i]
	var timed bool
	flags := map[uint16]lh.Flag{}
	err := j.object("a record", func(key string) error {
		switch key {
		case "t":
			n, err := j.integer(key)
			if err != nil {
				return err
			}
			if r.Time = lh.Millis(n); r.Time < lh.MinMillis || r.Time > lh.MaxMillis {
				return lh.Errorf(lh.Invalid, "record %d has a time outside the years 1 to 9999", i)
			}
			timed = true
			return nil
		case "v":
			return j.object("v", func(key string) error {
				v, present, err := j.value(i, key)
				if err != nil || !present {
					return err
				}
				ch, err := j.channel(key)
				if err != nil {
					return err
				}
				if j.total++; j.total > MaxValues {
					return lh.Errorf(lh.Invalid, "batch has more than %d values", MaxValues)
				}
				r.Values = append(r.Values, Value{Channel: ch, Flag: lh.FlagNotEvaluated, Value: v})
				return nil
			})
		case "f":
			return j.object("f", func(key string) error {
				n, err := j.integer(key)
				if err != nil {
					return err
				}
				if n < 0 || n > 9 || !lh.Flag(n).Valid() {
					return lh.Errorf(lh.Invalid, "record %d has the unknown flag %d for %q", i, n, key)
				}
				ch, err := j.channel(key)
				flags[ch] = lh.Flag(n)
				return err
			})
		}
		return lh.Errorf(lh.Invalid, `a record has no %q; it has "t", "v" and "f"`, key)
	})
	if err != nil {
		return err
	}
	if !timed {
		return lh.Errorf(lh.Invalid, `record %d has no time "t"`, i)
	}
	for k := range r.Values {
		if f, ok := flags[r.Values[k].Channel]; ok {
			r.Values[k].Flag = f
		}
	}
	return nil
}

// value reads a number; null and the words for "no value" are absence.
func (j *jsonBatch) value(record int, key string) (float64, bool, error) {
	t, err := j.d.Token()
	if err != nil {
		return 0, false, err
	}
	switch t := t.(type) {
	case nil:
		return 0, false, nil
	case string:
		if t == "" || strings.EqualFold(t, "nan") {
			return 0, false, nil
		}
	case json.Number:
		v, err := strconv.ParseFloat(string(t), 64)
		if err == nil && !math.IsInf(v, 0) {
			return v, true, nil
		}
	}
	return 0, false, lh.Errorf(lh.Invalid, "record %d: the value of %q is not a finite number; null is absence", record, key)
}

func (j *jsonBatch) channel(key string) (uint16, error) {
	if i, ok := j.index[key]; ok {
		return i, nil
	}
	if err := CheckChannel(key); err != nil {
		return 0, err
	}
	i := len(j.b.Channels)
	if i >= MaxChannels {
		return 0, lh.Errorf(lh.Invalid, "batch has more than %d channels", MaxChannels)
	}
	j.b.Channels = append(j.b.Channels, key)
	j.index[key] = uint16(i)
	return uint16(i), nil
}

// object reads an object and calls field for each key; field reads the value.
func (j *jsonBatch) object(what string, field func(key string) error) error {
	if err := j.expect('{', what, "an object"); err != nil {
		return err
	}
	seen := map[string]struct{}{}
	for j.d.More() {
		t, err := j.d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return lh.Errorf(lh.Invalid, "%s has a key that is no string", what)
		}
		if _, dup := seen[key]; dup {
			return lh.Errorf(lh.Invalid, "%s has %q twice", what, key)
		}
		seen[key] = struct{}{}
		if err := field(key); err != nil {
			return err
		}
	}
	_, err := j.d.Token() // the closing brace
	return err
}

func (j *jsonBatch) array(what string, item func() error) error {
	if err := j.expect('[', what, "a list"); err != nil {
		return err
	}
	for j.d.More() {
		if err := item(); err != nil {
			return err
		}
	}
	_, err := j.d.Token() // the closing bracket
	return err
}

func (j *jsonBatch) expect(open json.Delim, what, kind string) error {
	t, err := j.d.Token()
	if err != nil {
		return err
	}
	if t != open {
		return lh.Errorf(lh.Invalid, "%q is not %s", what, kind)
	}
	return nil
}

func (j *jsonBatch) text(key string) (string, error) {
	t, err := j.d.Token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", lh.Errorf(lh.Invalid, "%q is not a string", key)
	}
	return s, nil
}

func (j *jsonBatch) integer(key string) (int64, error) {
	t, err := j.d.Token()
	if err != nil {
		return 0, err
	}
	n, ok := t.(json.Number)
	if !ok {
		return 0, lh.Errorf(lh.Invalid, "%q is not a number", key)
	}
	i, err := n.Int64()
	if err != nil {
		return 0, lh.Errorf(lh.Invalid, "%q is not a whole number in range", key)
	}
	return i, nil
}

// DecodeManifest reads a manifest and checks it. Invalid: unknown fields, or what [Manifest.Check] refuses.
func DecodeManifest(data []byte) (Manifest, error) {
	var m Manifest
	if len(data) > MaxBatchBytes {
		return m, lh.Errorf(lh.Invalid, "manifest has %d bytes; at most %d are possible", len(data), MaxBatchBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return m, lh.Errorf(lh.Invalid, "manifest cannot be read: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return m, lh.Errorf(lh.Invalid, "something stands behind the manifest")
	}
	return m, m.Check()
}
