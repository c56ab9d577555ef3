package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// dialogue asks a person on a terminal. Questions go to stderr: stdout has
// results.
type dialogue struct {
	*env
	lines chan answer
}

// answer is a line that was typed.
type answer struct {
	text string
	err  error
}

func newDialogue(e *env) *dialogue {
	d := &dialogue{env: e, lines: make(chan answer)}
	go func() { // ends with the process: a read of a terminal cannot be called off
		r := bufio.NewReader(e.in)
		for {
			text, err := r.ReadString('\n')
			d.lines <- answer{text, err}
			if err != nil {
				return
			}
		}
	}()
	return d
}

// line asks until the answer is right. Enter alone takes what is offered, if
// anything is.
func (d *dialogue) line(ctx context.Context, question, offered string, check func(string) error) (string, error) {
	if offered != "" {
		question += " [" + oneLine(offered) + "]"
	}
	for {
		d.note("%s: ", question)
		text, err := d.read(ctx)
		if err != nil {
			return "", err
		}
		if text == "" {
			text = offered
		}
		if wrong := check(text); wrong != nil {
			d.note("! %s\n", lines(wrong.Error()))
			continue
		}
		return text, nil
	}
}

// secret asks, without showing what is typed, until the answer is right; Enter
// alone is "".
func (d *dialogue) secret(ctx context.Context, question string, check func(string) error) (string, error) {
	for {
		text, err := d.unseen(ctx, question)
		if err != nil {
			return "", err
		}
		if wrong := check(text); wrong != nil {
			d.note("! %s\n", lines(wrong.Error()))
			continue
		}
		return text, nil
	}
}

// unseen reads a line while the terminal shows nothing. Ctrl-Z does nothing
// meanwhile: a shell would show what is typed after it.
func (d *dialogue) unseen(ctx context.Context, question string) (text string, err error) {
	was, err := termios(d.in, nil)
	if err != nil {
		return "", fault.Wrap(fault.Internal, err, "cannot ask for a key without showing it").WithHint("use --key-stdin, with a file")
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ECHONL | unix.ICANON | unix.ISIG
	quiet.Cc[unix.VSUSP] = 0 // _POSIX_VDISABLE
	if _, err := termios(d.in, &quiet); err != nil {
		return "", fault.Wrap(fault.Internal, err, "cannot ask for a key without showing it").WithHint("use --key-stdin, with a file")
	}
	d.note("%s: ", question) // once nothing is shown any more
	text, err = d.read(ctx)
	if _, back := termios(d.in, was); err == nil && back != nil {
		err = fault.Wrap(fault.Internal, back, "cannot show again what is typed").WithHint("stty echo")
	}
	return text, err
}

// read is the next line, without blanks around it.
func (d *dialogue) read(ctx context.Context) (string, error) {
	select {
	case <-ctx.Done():
		d.note("\n")
		return "", ctx.Err()
	case a := <-d.lines:
		if errors.Is(a.err, io.EOF) && a.text == "" {
			d.note("\n")
			return "", fault.New(fault.Usage, "setup was not finished: nothing was written").
				WithHint("in Docker a terminal that can be typed at takes -it: docker run -it … setup")
		}
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", fault.Wrap(fault.Internal, a.err, "cannot read what is typed")
		}
		return strings.TrimSpace(a.text), nil
	}
}

// termios is how a terminal is set, and sets it if to is not nil. The
// descriptor's mode is left alone, which File.Fd would change.
func termios(f *os.File, to *unix.Termios) (was *unix.Termios, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		if to == nil {
			was, ioctl = unix.IoctlGetTermios(int(fd), unix.TCGETS)
		} else {
			ioctl = unix.IoctlSetTermios(int(fd), unix.TCSETSW, to)
		}
	})
	return was, errors.Join(err, ioctl)
}
