package supervisor_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/api"
	"hermes/internal/engine/enginetest"
)

// TestUnserved: a person is told why nobody can watch, who is to blame and what
// would help, for as long as it lasts.
func TestUnserved(t *testing.T) {
	t.Parallel()
	r := newRig(t, enginetest.NewFake())
	r.profile("anna")
	r.boot("anna")
	notices := func() []api.Notice {
		t.Helper()
		fleet, err := r.fleet.Fleet(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fleet.Notices
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for _, tt := range []struct {
		addr string
		err  error
		says []string
		hint string
	}{
		{taken, bind(unix.EADDRINUSE), []string{"address already in use", fmt.Sprintf("pid %d (", os.Getpid())}, "stop what has it"},
		{"192.0.2.1:9120", bind(unix.EADDRNOTAVAIL), []string{"cannot assign requested address"}, ":PORT"},
		{":80", bind(unix.EACCES), []string{"permission denied"}, "1024"},
		{"nowhere:9120", errors.New("lookup nowhere: no such host"), []string{"no such host"}, "correct HERMES_HTTP_ADDR"},
	} {
		r.fleet.Unserved(tt.addr, tt.err)
		got := notices()
		if len(got) != 1 || got[0].Code != "http_unserved" || !strings.Contains(got[0].Hint, tt.hint) {
			t.Errorf("%s: %+v", tt.addr, got)
			continue
		}
		for _, says := range append(tt.says, "HERMES_HTTP_ADDR="+tt.addr, "/metrics") {
			if !strings.Contains(got[0].Message, says) {
				t.Errorf("%s: %q does not say %q", tt.addr, got[0].Message, says)
			}
		}
	}
	r.fleet.Unserved(taken, nil)
	if got := notices(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// bind is an error as package net has it.
func bind(errno unix.Errno) error {
	return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)}
}
