package sensor

import (
	"math"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// check refuses a channel that could not be in a manifest, or whose values could never be finite.
func (c *Channel) check() error {
	if err := wire.CheckChannel(c.Key); err != nil {
		return err
	}
	if c.Scale != nil && (*c.Scale == 0 || math.IsNaN(*c.Scale) || math.IsInf(*c.Scale, 0)) || math.IsNaN(c.Offset) || math.IsInf(c.Offset, 0) {
		return lh.Errorf(lh.Invalid, "channel %q: scale and offset are finite numbers, and a scale is not 0", c.Key)
	}
	return nil
}

// describe says what the channel is.
func (c *Channel) describe(interval time.Duration) wire.ManifestChannel {
	name := c.Name
	if name == "" {
		name = c.Key
	}
	return wire.ManifestChannel{Key: c.Key, Name: name, Quantity: c.Quantity, Unit: c.Unit, Digits: c.Digits,
		Interval: interval.Milliseconds(), Meaning: c.Meaning}
}

// reading makes a reading of a raw number. false: it is none, because it is not finite.
func (c *Channel) reading(raw float64, flag lh.Flag) (Reading, bool) {
	v := scaled(raw, c.Scale) + c.Offset
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Reading{}, false
	}
	return Reading{Channel: c.Key, Value: v, Flag: flag}, true
}

// scaled multiplies. A scale such as 0.001 has no float64 of its own; dividing by the whole number it stands for gives
// the very decimal that a person expects, 23456 → 23.456 and not 23.456000000000003.
func scaled(raw float64, scale *float64) float64 {
	if scale == nil {
		return raw
	}
	if n := math.Round(1 / *scale); n != 0 && 1/n == *scale {
		return raw / n
	}
	return raw * *scale
}

// maxNumber bounds the text of one number.
const maxNumber = 64

// parseNumber reads a decimal number. present is false for what means that there is no value: nothing, NAN, and the words
// in absent; a word that is a number means every text of that number.
func parseNumber(text string, absent []string) (v float64, present bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" || strings.EqualFold(text, "nan") {
		return 0, false, nil
	}
	v, ok := decimal(text)
	for _, w := range absent {
		if w == text {
			return 0, false, nil
		}
		if n, isNumber := decimal(w); ok && isNumber && n == v {
			return 0, false, nil
		}
	}
	if !ok {
		if len(text) > maxNumber {
			text = text[:maxNumber] + "…"
		}
		return 0, false, lh.Errorf(lh.Invalid, "%q is no finite decimal number", text)
	}
	return v, true, nil
}

// decimal is strconv.ParseFloat without what no instrument means: hexadecimal, underscores, infinities.
func decimal(text string) (float64, bool) {
	if len(text) > maxNumber || strings.Trim(text, "+-.0123456789eE") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}
