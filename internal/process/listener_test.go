package process

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

// TestListener names who listens: this very process.
func TestListener(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if got, want := Listener(port), fmt.Sprintf("pid %d (", os.Getpid()); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q…", got, want)
	}
	_ = ln.Close()
	if got := Listener(port); strings.Contains(got, fmt.Sprint(os.Getpid())) {
		t.Errorf("nobody listens, and it is %q", got)
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[31m\nb é"); got != "a?[31m?b é" {
		t.Errorf("%q", got)
	}
}
