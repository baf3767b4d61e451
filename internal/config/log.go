package config

import (
	_ "embed"
	"fmt"
	"io"
	"log/slog"
)

//go:embed log.go
var logSource string

// Log says what is logged, to standard error.
type Log struct {
	// debug, info, warn or error.
	Level slog.Level `yaml:"level"`

	// text or json.
	Format string `yaml:"format"`
}

// Check refuses a format that there is not.
func (l Log) Check() error {
	if l.Format != "text" && l.Format != "json" {
		return fmt.Errorf("format: %q is neither text nor json", l.Format)
	}
	return nil
}

// Logger returns the logger that is asked for.
func (l Log) Logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
