package config

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Example returns a configuration as commented YAML: c's values, each under the comment that its field has in source,
// the Go file in which the structs of c are written. An empty list is its key alone, so that what may stand in it can
// follow when it is the last. Fields without a yaml tag are not of the file.
func Example(c any, source string) (string, error) {
	docs := fieldDocs(logSource)
	maps.Copy(docs, fieldDocs(source))
	var b strings.Builder
	err := write(&b, reflect.ValueOf(c), docs, "")
	return b.String(), err
}

func write(b *strings.Builder, v reflect.Value, docs map[string]string, indent string) error {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		if doc := docs[t.Name()+"."+f.Name]; doc != "" {
			if indent == "" {
				b.WriteString("\n")
			}
			for line := range strings.Lines(doc) {
				b.WriteString(strings.TrimRight(indent+"# "+strings.TrimRight(line, "\n"), " ") + "\n")
			}
		}
		b.WriteString(indent + key + ":")
		if f.Type.Kind() == reflect.Struct {
			b.WriteString("\n")
			if err := write(b, v.Field(i), docs, indent+"  "); err != nil {
				return err
			}
			continue
		}
		list := f.Type.Kind() == reflect.Slice
		if list && v.Field(i).Len() == 0 {
			b.WriteString("\n")
			continue
		}
		value, err := yaml.Marshal(v.Field(i).Interface())
		if err != nil {
			return fmt.Errorf("example of %s: %w", key, err)
		}
		if !list {
			b.WriteString(" " + string(value))
			continue
		}
		b.WriteString("\n")
		for line := range strings.Lines(string(value)) {
			b.WriteString(indent + "  " + line)
		}
	}
	return nil
}

// fieldDocs finds the comment above each field of the structs in a source file, by "Struct.Field".
func fieldDocs(source string) map[string]string {
	docs := map[string]string{}
	var in string
	var doc []string
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "type ") && strings.HasSuffix(line, "struct {"):
			in = strings.Fields(line)[1]
		case line == "}":
			in = ""
		case in != "" && strings.HasPrefix(line, "//"):
			doc = append(doc, strings.TrimPrefix(strings.TrimPrefix(line, "//"), " ")) // what is indented stays so
			continue
		case in != "" && strings.Contains(line, "`yaml:"):
			docs[in+"."+strings.Fields(line)[0]] = strings.Join(doc, "\n")
		}
		doc = nil
	}
	return docs
}
