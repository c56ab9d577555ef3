package process

import (
	"os"
	"testing"
)

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 (a) b) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"))
	f.Add([]byte(") "))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStat(b) })
}

func TestParseStat(t *testing.T) {
	st, err := parseStat([]byte("7 (a) b c) Z 2 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1234 0"))
	if err != nil || st != (Stat{Name: "a) b c", State: 'Z', Parent: 2, Group: 9, Start: 1234}) {
		t.Errorf("read %+v, %v", st, err)
	}
	if _, err := parseStat([]byte("7 (a) Z 2 0")); err == nil {
		t.Error("a short line is accepted")
	}
	start, err := StartTime(os.Getpid())
	if now := Ticks(); err != nil || start == 0 || start > now {
		t.Errorf("this process started at %d of %d (%v)", start, now, err)
	}
}
