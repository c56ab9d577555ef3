package gateway

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

type plainEvent struct{ Name, Data string }

// readEvents reads all events and how they ended.
func readEvents(r io.Reader) ([]plainEvent, error) {
	in := newEventReader(r)
	var all []plainEvent
	for {
		e, err := in.next()
		if err != nil {
			return all, err
		}
		all = append(all, plainEvent{e.name, string(e.data)})
	}
}

func TestEventReader(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     []plainEvent
		err      error
	}{
		{"two", "data: a\n\ndata: b\n\n", []plainEvent{{"", "a"}, {"", "b"}}, io.EOF},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []plainEvent{{"", "a"}, {"", "b"}}, io.EOF},
		{"no blank after the colon", "data:a\n\n", []plainEvent{{"", "a"}}, io.EOF},
		{"one blank is dropped, not two", "data:  a\n\n", []plainEvent{{"", " a"}}, io.EOF},
		{"several lines", "data: a\ndata\ndata: b\n\n", []plainEvent{{"", "a\n\nb"}}, io.EOF},
		{"a name", "event: error\ndata: a\n\n", []plainEvent{{"error", "a"}}, io.EOF},
		{"a name without data is nothing", "event: x\n\ndata: a\n\n", []plainEvent{{"", "a"}}, io.EOF},
		{"comments and unknown fields", ": hi\n\nid: 7\nretry: 1\nnonsense\ndata: a\n: hi\n\n", []plainEvent{{"", "a"}}, io.EOF},
		{"empty data", "data\n\ndata:\n\n", []plainEvent{{"", ""}, {"", ""}}, io.EOF},
		{"a byte order mark", "\uFEFFdata: a\n\n", []plainEvent{{"", "a"}}, io.EOF},
		{"many blank lines", "\n\n\ndata: a\n\n\n\n", []plainEvent{{"", "a"}}, io.EOF},
		{"done without a blank line", "data: a\n\ndata: [DONE]", []plainEvent{{"", "a"}, {"", "[DONE]"}}, io.EOF},
		{"cut in an event", "data: a\n\ndata: b\n", []plainEvent{{"", "a"}}, io.ErrUnexpectedEOF},
		{"cut in a line", "data: a\n\ndata: b", []plainEvent{{"", "a"}}, io.ErrUnexpectedEOF},
		{"nothing", "", nil, io.EOF},
		{"a long line", "data: " + strings.Repeat("x", 3*readSize) + "\n\n", []plainEvent{{"", strings.Repeat("x", 3*readSize)}}, io.EOF},
		{"too long a line", "data: " + strings.Repeat("x", maxEvent+1), nil, errEventTooLarge},
		{"too many lines", strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 9), nil, errEventTooLarge},
		{"too much of nothing", strings.Repeat(strings.Repeat("x", 1<<20)+"\n", 9), nil, errEventTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(tt.in), "in halves": iotest.HalfReader(strings.NewReader(tt.in)),
			} {
				got, err := readEvents(r)
				if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
					t.Errorf("%s: %v, want %v\n%.500s", how, err, tt.err, diff)
				}
			}
		})
	}
}

// A comment flood is one event at a time: it does not add up to an error.
func TestCommentsDoNotAddUp(t *testing.T) {
	in := strings.NewReader(strings.Repeat(": keepalive "+strings.Repeat("x", 1000)+"\n\n", maxEvent/1000+1000) + "data: a\n\n")
	if got, err := readEvents(in); len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d events, %v", len(got), err)
	}
}

func TestReady(t *testing.T) {
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() {
		_, _ = pw.Write([]byte("data: a\n\ndata: b\r\n\r\ndata: c\n"))
		_, _ = pw.Write([]byte("\n"))
		_ = pw.Close()
	}()
	in := newEventReader(pr)
	for _, tt := range []struct {
		data  string
		ready bool
	}{{"a", true}, {"b", false}, {"c", false}} {
		e, err := in.next()
		if err != nil || string(e.data) != tt.data || in.ready() != tt.ready {
			t.Errorf("got %q, ready %v, %v, want %q, %v", e.data, in.ready(), err, tt.data, tt.ready)
		}
	}
}

func FuzzEventReader(f *testing.F) {
	f.Add([]byte("data: {\"a\":1}\n\ndata: [DONE]\n\n"))
	f.Add([]byte("event: x\r\ndata: a\r\ndata: b\r\n\r\n: c\n\n"))
	f.Add([]byte("\uFEFFdata\n\n\xff\x00data: \n"))
	f.Add([]byte("data: a\rb\n\nevent: c\rd\ndata: e\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, wholeErr := readEvents(bytes.NewReader(stream))
		dripped, drippedErr := readEvents(iotest.OneByteReader(bytes.NewReader(stream)))
		if diff := cmp.Diff(whole, dripped); diff != "" || !errors.Is(drippedErr, wholeErr) {
			t.Fatalf("it matters how it arrives: %v, %v\n%s", wholeErr, drippedErr, diff)
		}
		// What is passed on is read as what was read, but for carriage returns.
		var again []byte
		var want []plainEvent
		for _, e := range whole {
			again = appendEvent(again, event{name: e.Name, data: []byte(e.Data)})
			want = append(want, plainEvent{strings.ReplaceAll(e.Name, "\r", ""), strings.ReplaceAll(e.Data, "\r", "")})
		}
		got, err := readEvents(bytes.NewReader(again))
		if diff := cmp.Diff(want, got); diff != "" || !errors.Is(err, io.EOF) {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}
