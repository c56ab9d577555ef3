package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// event is one server-sent event.
type event struct {
	name string // "" for an ordinary one
	data []byte
}

// Limits of a stream of events.
const (
	// maxEvent bounds one event, in bytes: pictures come as base64 in one.
	maxEvent = 8 << 20
	// readSize is what is read from a provider at once.
	readSize = 32 << 10
)

// doneData ends every stream of OpenAI's API.
const doneData = "[DONE]"

var errEventTooLarge = errors.New("an event is larger than 8 MB")

// eventReader splits a stream into events, as the HTML standard says, but for
// two things: a lone CR ends no line, and the end of OpenAI's streams is known
// without the blank line after it.
type eventReader struct {
	in   *bufio.Reader
	data []byte
	name string
	size int // bytes of the event so far, ignored lines included
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{in: bufio.NewReaderSize(r, readSize)}
}

// next returns the next event that has data; it is valid until the next call.
// io.EOF says that the stream ended between two events, io.ErrUnexpectedEOF
// that it ended within one.
func (r *eventReader) next() (event, error) {
	r.data, r.name, r.size = r.data[:0], "", 0
	started := false // there is data, maybe empty
	for {
		line, err := r.line()
		if err != nil {
			if errors.Is(err, io.EOF) && started {
				err = io.ErrUnexpectedEOF
			}
			return event{}, err
		}
		if len(line) == 0 {
			if started {
				return r.event(), nil
			}
			r.name, r.size = "", 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if started {
				r.data = append(r.data, '\n')
			}
			r.data = append(r.data, value...)
			started = true
			if string(r.data) == doneData {
				return r.event(), nil
			}
		case "event":
			r.name = string(value)
		}
	}
}

func (r *eventReader) event() event { return event{name: r.name, data: r.data} }

// line returns the next line without its end; a last one without an end is
// one, too. A byte order mark before it is dropped.
func (r *eventReader) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.long(line)
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	if r.size += len(line); r.size > maxEvent {
		return nil, errEventTooLarge
	}
	line = bytes.TrimPrefix(line, []byte("\uFEFF"))
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// long reads on where a line is longer than the buffer.
func (r *eventReader) long(start []byte) ([]byte, error) {
	line := bytes.Clone(start)
	for {
		more, err := r.in.ReadSlice('\n')
		if line = append(line, more...); len(line) > maxEvent {
			return nil, errEventTooLarge
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// ready reports that another whole event has arrived already.
func (r *eventReader) ready() bool {
	waiting, _ := r.in.Peek(r.in.Buffered())
	return bytes.Contains(waiting, []byte("\n\n")) || bytes.Contains(waiting, []byte("\n\r\n"))
}

// appendEvent appends e as it goes over the wire. A line feed in the data
// starts another data line, a carriage return would end one and is dropped:
// neither is ever part of compact JSON.
func appendEvent(to []byte, e event) []byte {
	if e.name != "" {
		to = append(append(append(to, "event: "...), oneLine([]byte(e.name))...), '\n')
	}
	for line := range bytes.SplitSeq(e.data, []byte("\n")) {
		to = append(append(append(to, "data: "...), oneLine(line)...), '\n')
	}
	return append(to, '\n')
}

func oneLine(b []byte) []byte {
	if bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	return bytes.ReplaceAll(b, []byte("\r"), nil)
}
