package api

import (
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Attributed is the part of a list's input that filters by attributes.
type Attributed struct {
	Attribute []string `query:"attribute,explode" maxItems:"10" doc:"key=value, or key for any value; each given one must fit"`
}

// wanted returns what reports whether attributes fit.
func (in Attributed) wanted() (func(lh.Attributes) bool, error) {
	for _, a := range in.Attribute {
		if key, _, _ := strings.Cut(a, "="); key == "" || len(a) > lh.MaxAttributeKey+1+lh.MaxAttributeValue {
			return nil, lh.Errorf(lh.Invalid, "query.attribute: key=value, or key for any value")
		}
	}
	return func(has lh.Attributes) bool {
		for _, a := range in.Attribute {
			key, value, exact := strings.Cut(a, "=")
			if v, ok := has[key]; !ok || exact && v != value {
				return false
			}
		}
		return true
	}, nil
}

// shownAttributes shows none as an empty object.
func shownAttributes(a lh.Attributes) lh.Attributes {
	if a == nil {
		return lh.Attributes{}
	}
	return a
}
