package logfile

import (
	"strings"
	"time"
)

// s6Layout is the stamp of s6-log's T directive, which two blanks follow. hermes
// runs s6-log in UTC.
const s6Layout = "2006-01-02 15:04:05.000000000"

// CutStamp divides a line of a log into when it was read and what it says: a log
// of ours, or one of s6-log's.
func CutStamp(line string) (at time.Time, text string, ok bool) {
	if len(line) > len(s6Layout) && line[len("2006-01-02")] == ' ' {
		text, ok = strings.CutPrefix(line[len(s6Layout):], "  ")
		at, err := time.Parse(s6Layout, line[:len(s6Layout)])
		return at, text, ok && err == nil
	}
	stamp, text, ok := strings.Cut(line, " ")
	if !ok {
		return time.Time{}, "", false
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	return at, text, err == nil
}

// wordLines of a log explain why a gateway is down.
const wordLines = 3

// LastWords are what a log says last since then, in one line; "" if that is
// nothing.
func LastWords(dir string, since time.Time) string {
	lines, err := Tail(dir, wordLines)
	if err != nil {
		return ""
	}
	var said []string
	for _, l := range lines {
		if at, text, ok := CutStamp(l); ok && !at.Before(since) {
			said = append(said, text)
		}
	}
	return Clean(strings.Join(said, " | "))
}

// Clean makes a gateway's words safe for a terminal and a page, and short enough
// for a table; they are hostile text. What ends a line for some readers or turns
// the direction of what follows goes with the control characters.
func Clean(s string) string {
	const most = 300
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
