// Package testkit is what tests of many packages share. Nothing that ships
// imports it.
package testkit

import (
	"fmt"
	"os"
	"testing"
)

// Unavailable leaves a test out because the machine cannot run it, and says
// why: what is missing. Where CI=true the test fails instead: CI must be able
// to run everything. `make test` lists what was left out, through the file that
// HERMES_LEFT_OUT names.
func Unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must run this test: %s", why)
	}
	if err := leftOut(os.Getenv("HERMES_LEFT_OUT"), t.Name()+": "+why); err != nil {
		t.Fatal(err)
	}
	t.Skip(why)
}

// leftOut adds a line to the list at path; tests of many processes share it.
func leftOut(path, line string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}
