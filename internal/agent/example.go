package agent

import (
	_ "embed"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed config.go
var configSource string

//go:embed sensors.example.yaml
var sensorsExample string

// Example returns a whole configuration as commented YAML: the comments are those of the fields, the values the
// defaults, with an example of each kind of sensor.
func Example() (string, error) {
	c := DefaultConfig()
	c.Serial = "LH-0001"
	var b strings.Builder
	b.WriteString("# The configuration of a Loggerhead datalogger. Relative paths are relative to this file's folder. Unknown keys\n# are errors.\n")
	if err := writeExample(&b, reflect.ValueOf(c), fieldDocs(configSource), ""); err != nil {
		return "", err
	}
	b.WriteString(sensorsExample)
	return b.String(), nil
}

func writeExample(b *strings.Builder, v reflect.Value, docs map[string]string, indent string) error {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if doc := docs[t.Name()+"."+f.Name]; doc != "" {
			if indent == "" {
				b.WriteString("\n")
			}
			for line := range strings.Lines(doc) {
				b.WriteString(indent + "# " + strings.TrimSpace(line) + "\n")
			}
		}
		key := f.Tag.Get("yaml")
		if key == "" { // not of the file
			continue
		}
		switch f.Type.Kind() {
		case reflect.Struct:
			b.WriteString(indent + key + ":\n")
			if err := writeExample(b, v.Field(i), docs, indent+"  "); err != nil {
				return err
			}
		case reflect.Slice: // the sensors; their examples follow
			b.WriteString(indent + key + ":\n")
		default:
			value, err := yaml.Marshal(v.Field(i).Interface())
			if err != nil {
				return err
			}
			b.WriteString(indent + key + ": " + string(value))
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
			doc = append(doc, strings.TrimSpace(strings.TrimPrefix(line, "//")))
			continue
		case in != "" && strings.Contains(line, "`yaml:"):
			docs[in+"."+strings.Fields(line)[0]] = strings.Join(doc, "\n")
		}
		doc = nil
	}
	return docs
}
