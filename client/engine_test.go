package client

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// The engine is told from the keeper's other children by its arguments.
func TestEnginePID(t *testing.T) {
	if pid := enginePID(os.Getpid()); pid != 0 {
		t.Fatalf("found %d before there was one", pid)
	}
	started := func(args ...string) int {
		cmd := exec.Command("/bin/sh", append([]string{"-c", "read line", "sh"}, args...)...)
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
		return cmd.Process.Pid
	}
	started("gateway", "run", "engine")
	want := started("--home", "/h", "engine", "--runtime", "/r")
	deadline := time.Now().Add(5 * time.Second)
	for enginePID(os.Getpid()) != want {
		if time.Now().After(deadline) {
			t.Fatalf("got %d, want %d", enginePID(os.Getpid()), want)
		}
	}
}
