package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// checkLines: text is stamped lines of the writer, the last one is number last,
// and none is missing among them.
func checkLines(text string, last int) error {
	previous := 0
	for line := range strings.Lines(text) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole || len(line) < lineLen {
			return fmt.Errorf("%.120q is no line of the writer with its time", line)
		}
		stamp, own := line[:len(line)-(lineLen-1)], line[len(line)-(lineLen-1):]
		i, err := strconv.Atoi(own[:10])
		if err != nil || !strings.HasPrefix(stamp, "20") {
			return fmt.Errorf("%.120q is no line of the writer with its time", line)
		}
		if previous > 0 && i != previous+1 {
			return fmt.Errorf("line %d is followed by line %d", previous, i)
		}
		previous = i
	}
	if previous == 0 {
		return errors.New("the log is empty")
	}
	if previous != last {
		return fmt.Errorf("the last line is %d, want %d", previous, last)
	}
	return nil
}
