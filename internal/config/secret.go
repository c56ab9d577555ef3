package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands for a secret wherever it could be read by accident.
const redacted = "[redacted]"

// Secret is a value that shows itself to nobody who does not ask for it by
// name: formatting, logging and encoding give a placeholder, "" when empty.
type Secret string

var (
	_ fmt.Formatter  = Secret("")
	_ slog.LogValuer = Secret("")
)

// Reveal is the value itself.
func (s Secret) Reveal() string { return string(s) }

// String is the placeholder.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format writes the placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is the placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is the placeholder: in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
