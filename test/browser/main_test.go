package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience bounds every wait for a page or for another process.
const patience = 30 * time.Second

// program is the browser: Debian's, which has no window and no updater.
const program = "chromium-headless-shell"

// foreignHost is a name of somebody else's that leads to this machine, as a
// rebinding attacker's does. The browser knows no other names.
const foreignHost = "evil.example"

// rig is what all tests share.
type rig struct {
	hermes, probe string
	browser       context.Context // of the running browser
}

// shared is set once, before the first test.
var shared rig

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hb")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop, err := startBrowser(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// build makes the programs from the sources beside this module; HERMES_BIN is
// another hermes.
func build(dir string) error {
	shared.hermes, shared.probe = filepath.Join(dir, "hermes"), filepath.Join(dir, "probe")
	sources := map[string]string{shared.hermes: "./cmd/hermes", shared.probe: "./test/probe"}
	if bin := os.Getenv("HERMES_BIN"); bin != "" {
		delete(sources, shared.hermes)
		shared.hermes = bin
	}
	for bin, source := range sources {
		cmd := exec.Command("go", "build", "-trimpath", "-o", bin, source)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot build %s: %w\n%s", source, err, out)
		}
	}
	return nil
}

// startBrowser starts the one browser of all tests; each page is in a profile
// of its own, without the others' cookies and storage.
func startBrowser(dir string) (stop func(), err error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install --no-install-recommends %s", err, program)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(dir, "chromium")),
		chromedp.WindowSize(1280, 800),
		chromedp.NoSandbox, // needs what containers may lack; the pages are our own
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("host-resolver-rules", "MAP "+foreignHost+" 127.0.0.1, MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		return nil, fmt.Errorf("cannot start %s: %w", program, err)
	}
	shared.browser = ctx
	return func() {
		_ = chromedp.Cancel(ctx)
		cancel()
	}, nil
}
