package fleettest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/stray"
)

// roleWord is the first argument of a process that is a gateway of the suite.
const roleWord = "fleettest-gateway"

// Files by which a test tells such a gateway what to do, in its directory.
const (
	notifyFile = "notify" // to say to the supervisor
	printFile  = "print"  // to write to stdout
	serveFile  = "serve"  // is there when it is to serve
	exitFile   = "exit"   // the code to end with
	upFile     = "up"     // is made when it has begun
)

// Roles is the first thing in the TestMain of a package that runs the suite
// over real processes: in one that was started as a gateway, or as what a fleet
// starts of hermes itself, it is that and does not return.
func Roles() {
	args := os.Args[1:]
	switch {
	case len(args) == 2 && args[0] == roleWord:
		os.Exit(gateway(args[1]))
	case len(args) == 2 && args[0] == stray.Command:
		os.Exit(stray.Main(args[1:], os.Stdout, os.Stderr))
	case filepath.Base(os.Args[0]) == "hermes" && (slices.Contains(args, "run") || slices.Contains(args, "dashboard")):
		os.Exit(gateway("speak"))
	}
}

// gateway does what the files say until SIGTERM.
func gateway(kind string) int {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	serving := false
	if err := os.WriteFile(upFile, nil, 0o600); err != nil {
		return 1
	}
	for {
		select {
		case <-asked:
			return 0
		case <-tick.C:
		}
		if words := take(notifyFile); words != nil {
			tell(words)
		}
		_, _ = os.Stdout.Write(take(printFile))
		if code, err := strconv.Atoi(string(take(exitFile))); err == nil {
			return code
		}
		if _, err := os.Stat(serveFile); err == nil && kind == "serve" && !serving {
			serving = true
			go serve()
		}
	}
}

// take is the content of a file that was written in one step, which is gone
// then.
func take(file string) []byte {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	_ = os.Remove(file)
	return b
}

// tell says words to whoever listens: by sd_notify(3), and to s6 that it is
// ready, which is all that s6 hears.
func tell(words []byte) {
	if path := os.Getenv("NOTIFY_SOCKET"); path != "" {
		if conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}); err == nil {
			_, _ = conn.Write(words)
			_ = conn.Close()
		}
	}
	if fd, err := strconv.Atoi(os.Getenv("HERMES_NOTIFY_FD")); err == nil && bytes.Contains(words, []byte("READY=1")) {
		_, _ = unix.Write(fd, []byte("\n"))
	}
}

// serve answers 200 to everything on the gateway's port.
func serve() {
	srv := http.Server{
		Addr: "127.0.0.1:" + os.Getenv("PORT"), ReadHeaderTimeout: deadline,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
	}
	_ = srv.ListenAndServe()
}
