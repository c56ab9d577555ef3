package notify

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSend(t *testing.T) {
	dir, err := os.MkdirTemp("", "hn") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "n")
	in, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := Send(path, "READY=1", "STATUS=listening"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	_ = in.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "READY=1\nSTATUS=listening" {
		t.Errorf("%v: %q", err, buf[:n])
	}
	if err := Send(path+".gone", "READY=1"); err == nil {
		t.Error("nobody is there, and that is no error")
	}
	if err := Send("", "READY=1"); err != nil {
		t.Errorf("without a supervisor: %v", err)
	}
}

// TestSendToWhoDoesNotRead: a full socket costs a moment.
func TestSendToWhoDoesNotRead(t *testing.T) {
	dir, err := os.MkdirTemp("", "hn")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "n")
	in, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	began := time.Now()
	for range 10_000 {
		if err = Send(path, "STATUS=x"); err != nil {
			break
		}
	}
	if took := time.Since(began); err == nil || took > 10*timeout {
		t.Errorf("after %s: %v", took, err)
	}
}
