package e2e

import (
	"os/exec"
	"testing"

	"hermes/internal/testkit"
)

// TestShellInTerminal is `docker run -it … bash`: the shell has the terminal
// and its size, job control works in it, and its exit code is the container's.
func TestShellInTerminal(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"native", "s6"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			d := newDockerS6(t)
			p := testkit.NewTerminal(t)
			p.Resize(41, 101)
			cmd := exec.Command("docker", "run", "--interactive", "--tty", "--name", d.name, "--volume", d.home+":/opt/data",
				"--env", "HERMES_ENGINE="+engine, "--env", "PS1=ready> ", d.image, "bash", "--norc")
			p.Start(cmd)
			p.Expect("ready> ", 1)
			p.Insist("stty size", "41 101\n") // Docker says it a moment after the start
			p.Insist("trap 'stty size' WINCH; echo trap is set''.", "trap is set.")
			p.Resize(50, 120)
			p.Insist("", "50 120")

			p.Insist("cat - /dev/null", "cat - /dev/null\n")
			p.Insist("one", "one\none\n") // the terminal's echo, and cat's
			p.Type("\x03")                // Ctrl-C
			p.Insist("echo first $?.", "first 130.")

			p.Insist("cat - /dev/null", "cat - /dev/null\n")
			p.Insist("two", "two\ntwo\n")
			p.Type("\x1a") // Ctrl-Z
			p.Expect("Stopped", 1)
			p.Type("fg\r")
			p.Insist("three", "three\nthree\n")
			p.Type("\x03")
			p.Insist("echo second $?.", "second 130.")

			p.Type("exit 7\r")
			_ = cmd.Wait() // the code says it
			if code := cmd.ProcessState.ExitCode(); code != 7 {
				t.Errorf("exit code %d\n%s", code, p.Shown())
			}
		})
	}
}
