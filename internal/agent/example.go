package agent

import (
	_ "embed"

	"github.com/loggerhead-cloud/loggerhead/internal/config"
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
	text, err := config.Example(c, configSource) // it ends with the key of the sensors
	return "# The configuration of a Loggerhead datalogger. Relative paths are relative to this file's folder. Unknown keys\n# are errors.\n" +
		text + sensorsExample, err
}
