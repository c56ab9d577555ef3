package cli

import (
	"context"
	"io"
	"os"
	"time"

	"hermes/internal/config"
	"hermes/internal/profile"
)

// env is what a command depends on: the process's surroundings, and the parts
// of hermes the command line starts but does not contain.
type env struct {
	in      *os.File
	out     *output
	err     io.Writer
	environ []string
	// settings is what environ says; settingsErr what is wrong with it, reported
	// by every command that needs the home.
	settings    config.Settings
	settingsErr error
	now         func() time.Time
	build       buildInfo
	// runGateway runs the built-in gateway until ctx is done and returns its
	// exit status.
	runGateway func(ctx context.Context, g GatewayRun) int

	// isInit says that this command is carried out by `init`.
	isInit bool
	// thrift makes the process do with few threads; nil in a test's process.
	thrift func(need)

	seam  seam
	flags globalFlags
}

// GatewayRun is what the built-in gateway needs to know to run in the
// foreground.
type GatewayRun struct {
	Profile profile.Name
	Dir     string   // the profile's directory
	Environ []string // complete: the profile's .env is in it
	Stdout  io.Writer
	Stderr  io.Writer
}

// globalFlags are the flags every command has.
type globalFlags struct {
	profile string
	home    string
}

func newEnv(stdin *os.File, stdout, stderr io.Writer) *env {
	e := &env{
		in:      stdin,
		out:     &output{w: stdout},
		err:     stderr,
		environ: os.Environ(),
		now:     time.Now,
		build:   readBuildInfo(),
	}
	e.settings, e.settingsErr = config.FromEnviron(e.environ)
	e.runGateway = e.runBuiltIn
	return e
}

// output remembers the first failure of a write, so that a result that was
// lost (a full disk behind a redirection) does not exit 0.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}
