// Package config reads and explains the configuration files of the programs: strict YAML over the defaults of a struct,
// whose field comments are the reference that the example prints.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxBytes is how large a configuration may be.
const maxBytes = 1 << 20

// Read reads a configuration file, of at most 1 MiB.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && len(b) > maxBytes {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxBytes)
	}
	return b, err
}

// Parse reads one YAML document over what into points to: a struct, and what the text does not name stays as it is.
// Unknown keys, keys that stand twice and a second document are errors; no document is none.
func Parse(text []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("a second document follows the first")
	}
	return nil
}
