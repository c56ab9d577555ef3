package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// askWord makes the bench a program that asks hermes one thing and ends: what a
// command of ours would cost if it were nothing but a Go program with a socket.
const askWord = "ask"

// bareCommand asks what the commands of [newHermes] do.
func bareCommand(home, method, path string) []string {
	return []string{"/proc/self/exe", askWord, home, method, path}
}

// askMain writes the answer's body to stdout; without arguments it does nothing.
func askMain(args []string) int {
	if len(args) == 0 {
		return 0
	}
	body, err := ask(args[0], args[1], args[2])
	if err == nil {
		_, err = os.Stdout.Write(body)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// ask makes one request of the home's supervisor.
func ask(home, method, path string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(home, ".hermes.lock"))
	if err != nil {
		return nil, err
	}
	var record struct{ Socket string }
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&record); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: record.Socket}); err != nil {
		return nil, err
	}
	request := method + " " + path + " HTTP/1.1\r\nHost: hermes\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		return nil, err
	}
	answer := make([]byte, 0, 1<<20)
	for {
		n, err := unix.Read(fd, answer[len(answer):cap(answer)])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return answerBody(answer)
		}
		if answer = answer[:len(answer)+n]; len(answer) == cap(answer) {
			answer = append(answer, 0)[:len(answer)]
		}
	}
}

// answerBody is the body of a whole HTTP/1.1 answer that says 200, behind any
// interim ones.
func answerBody(answer []byte) ([]byte, error) {
	for {
		head, rest, whole := bytes.Cut(answer, []byte("\r\n\r\n"))
		words := bytes.Fields(head)
		if !whole || len(words) < 2 {
			return nil, errors.New("no whole answer came")
		}
		switch code, _ := strconv.Atoi(string(words[1])); {
		case code == 200:
			return rest, nil
		case code >= 200 || code < 100:
			return nil, fmt.Errorf("%s: %s", words[1], rest)
		}
		answer = rest
	}
}
