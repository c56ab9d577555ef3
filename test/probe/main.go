// Command probe is a gateway of somebody else's, made to find supervisors out:
// it takes a lock of its own, so that a second copy of it meets itself; it
// records every start; and it does what supervisors are tried with.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() { os.Exit(run()) }

type behaviour struct {
	exit     int           // exit code, -1: stay
	after    time.Duration // exit, or be ready, after this long
	notify   bool          // say READY=1
	rate     int           // bytes per second of numbered lines
	deaf     bool          // ignore SIGTERM
	slowStop time.Duration // take this long to stop
	stray    bool          // leave a child in a session of its own
	env      bool          // print the environment
	shout    int           // bytes of lines to say at once
	bomb     bool          // fork as often as possible until there is a file "defused"
}

func run() int {
	var b behaviour
	flag.IntVar(&b.exit, "exit", -1, "exit with this code")
	flag.DurationVar(&b.after, "after", 0, "before the exit or the notification")
	flag.BoolVar(&b.notify, "notify", false, "send READY=1")
	flag.IntVar(&b.rate, "rate", 0, "bytes per second of numbered lines")
	flag.BoolVar(&b.deaf, "deaf", false, "ignore SIGTERM")
	flag.DurationVar(&b.slowStop, "slow-stop", 0, "time between SIGTERM and the exit")
	flag.BoolVar(&b.stray, "stray", false, "leave a child in a session of its own")
	flag.BoolVar(&b.env, "env", false, "print the environment")
	flag.IntVar(&b.shout, "shout", 0, "bytes of lines to say at once")
	book := flag.String("book", "", "directory with a lock per profile's name, which outlives the profile's own directory")
	flag.BoolVar(&b.bomb, "bomb", false, "fork as often as possible until there is a file \"defused\"")
	flag.Parse()
	dir := os.Getenv("HERMES_HOME")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if b.deaf {
		signal.Ignore(syscall.SIGTERM)
	}
	unique := alone(filepath.Join(dir, "probe.lock"))
	if unique && *book != "" {
		unique = alone(filepath.Join(*book, os.Getenv("HERMES_PROFILE")+".lock"))
	}
	if !unique {
		note(dir, "doubles", strconv.Itoa(os.Getpid()))
		if *book != "" {
			note(*book, "doubles", os.Getenv("HERMES_PROFILE")+" "+strconv.Itoa(os.Getpid()))
		}
		fmt.Println("DOUBLE", os.Getpid())
		return 99
	}
	note(dir, "starts", strconv.Itoa(os.Getpid()))
	fmt.Println("probe up, pid", os.Getpid())
	if b.env {
		for _, kv := range os.Environ() {
			fmt.Println("env", kv)
		}
	}
	if b.stray {
		cmd := exec.Command("/proc/self/exe", "-after=1h", "-exit=0")
		cmd.Env = append(os.Environ(), "HERMES_HOME="+filepath.Join(dir, "stray"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = os.Mkdir(filepath.Join(dir, "stray"), 0o755)
		if err := cmd.Start(); err != nil {
			fmt.Println("no stray:", err)
		}
	}
	return b.live(dir, stop)
}

func (b behaviour) live(dir string, stop <-chan os.Signal) int {
	done := make(chan struct{})
	for said := 0; said < b.shout; said += 100 {
		fmt.Printf("shout %093d\n", said)
	}
	if b.rate > 0 {
		go flood(b.rate, done)
	}
	if b.bomb {
		go explode(dir)
	}
	wait := time.NewTimer(b.after)
	for {
		select {
		case <-wait.C:
			if b.exit >= 0 {
				fmt.Println("probe exits with", b.exit)
				return b.exit
			}
			if b.notify {
				tell("READY=1\nSTATUS=probing\nX_HERMES_HEALTH=ok")
			}
		case s := <-stop:
			note(dir, "stops", s.String())
			if b.slowStop > 0 {
				<-time.After(b.slowStop)
			}
			close(done)
			return 0
		}
	}
}

// alone takes the lock that a second copy of this gateway would need too.
func alone(lock string) bool {
	f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		fmt.Println("no lock:", err)
		return false
	}
	// The descriptor stays open for life; a child inherits it no more than
	// any other Go descriptor.
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// note appends a line to a file of the profile in one write.
func note(dir, file, line string) {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		fmt.Println("no note:", err)
		return
	}
	defer f.Close()
	_, _ = f.WriteString(line + "\n")
}

func tell(message string) {
	c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		fmt.Println("no notify socket:", err)
		return
	}
	defer c.Close()
	_, _ = c.Write([]byte(message))
}

// explode takes every process there is to have until it is defused. The
// children stay, in this process's group.
func explode(dir string) {
	runtime.LockOSThread()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for spent := false; ; {
		_, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "3600"}, &syscall.ProcAttr{})
		if err == nil {
			continue
		}
		if !spent {
			spent = true
			note(dir, "spent", err.Error())
		}
		if _, err := os.Stat(filepath.Join(dir, "defused")); err == nil {
			note(dir, "over", "defused")
			return
		}
		<-tick.C // none to be had now
	}
}

// flood writes numbered lines of 100 bytes at about the rate, until done.
func flood(rate int, done <-chan struct{}) {
	const line, burst = 100, 20
	out := bufio.NewWriter(os.Stdout)
	tick := time.NewTicker(time.Second * line * burst / time.Duration(rate))
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		for range burst {
			fmt.Fprintf(out, "line %090d\n", n)
			n++
		}
		_ = out.Flush()
	}
}
