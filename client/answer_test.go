package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hermes/api"
)

// manyGateways is an answer about a thousand gateways, about as long as one.
func manyGateways() string {
	const row = `{"profile":"w1","slot":"gateway-w1","intent":"running","intent_by":"cli uid 0","state":"running","health":"ok","pid":12,"restarts":0}`
	return `{"gateways":[` + strings.Repeat(row+",", 999) + row + `]}` + "\n"
}

// A large answer is read into memory of its size, once; one whose length is not
// known, or is not what it was said to be, is read all the same.
func TestWhole(t *testing.T) {
	text := manyGateways()
	for _, length := range []int64{int64(len(text)), -1, 0, 7, int64(len(text)) + 1} {
		b, err := whole(strings.NewReader(text), length)
		if err != nil || string(b) != text {
			t.Errorf("%d bytes of %d said to be %d: %v", len(b), len(text), length, err)
		}
		if length == int64(len(text)) && cap(b) > len(text)+bytes.MinRead {
			t.Errorf("%d bytes in memory for %d", cap(b), len(text))
		}
	}
	if b, err := whole(strings.NewReader(""), maxAnswer<<8); err != nil || cap(b) > maxAnswer+bytes.MinRead {
		t.Errorf("memory for %d bytes: %v", cap(b), err)
	}
	broken := errors.New("broken")
	if _, err := whole(io.MultiReader(strings.NewReader("x"), errReader{broken}), 2); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// An answer that is shorter than it was said to be was cut off: it is asked for
// again.
func TestAnswerCutShort(t *testing.T) {
	asked := 0
	socket := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		text := manyGateways()
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		if asked++; asked == 1 {
			text = text[:len(text)/2]
		}
		_, _ = io.WriteString(w, text)
	})
	raw, _, err := New(socket).FleetJSON(t.Context())
	if err != nil || string(raw) != manyGateways() || asked != 2 {
		t.Errorf("asked %d times for %d bytes: %v", asked, len(raw), err)
	}
}

// How many gateways are down is read from the header, and not known where there
// is none, or one that makes no sense.
func TestFleetJSONSaysHowManyAreDown(t *testing.T) {
	for header, want := range map[string]int{"0": 0, "12": 12, "": -1, "some": -1} {
		socket := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set(api.DownHeader, header)
			}
			_, _ = io.WriteString(w, "{}")
		})
		if _, down, err := New(socket).FleetJSON(t.Context()); down != want || err != nil {
			t.Errorf("%q: %d, %v; want %d", header, down, err, want)
		}
	}
}

func BenchmarkFleetJSON(b *testing.B) {
	text := manyGateways()
	socket := serve(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = io.WriteString(w, text)
	})
	c := New(socket)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, _, err := c.FleetJSON(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
