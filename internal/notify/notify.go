// Package notify speaks sd_notify(3), and s6's notification-fd: a process tells
// whoever started it that it is ready, or how it is.
package notify

import (
	"net"
	"os"
	"strings"
	"time"
)

// timeout bounds a notification: a supervisor that does not read must not hold
// up who serves.
const timeout = time.Second

// Send sends assignments, such as "READY=1", as one datagram to the socket at
// path, which is the value of NOTIFY_SOCKET; "@name" is an abstract socket.
// Without a path there is nobody to speak to, and nothing is done.
func Send(path string, assignments ...string) error {
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(strings.Join(assignments, "\n")))
	return err
}

// Ready says that this process is ready on descriptor fd, as s6 has it: by a
// newline. The descriptor is closed. Below 3 there is nobody to speak to, and
// nothing is done.
func Ready(fd int) error {
	if fd < 3 {
		return nil
	}
	f := os.NewFile(uintptr(fd), "notification-fd")
	_, err := f.WriteString("\n")
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
