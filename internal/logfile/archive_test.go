package logfile

import (
	"slices"
	"testing"
	"time"
)

func TestArchiveName(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		kind byte
		want string
	}{
		{time.Unix(0, 0), safe, "@400000000000002500000000.s"},
		{time.Unix(1_779_972_133, 123_456_789), unfinished, "@400000006a18384a075bcd15.u"},
	} {
		got := archiveName(labelOf(c.at), c.kind)
		if got != c.want {
			t.Errorf("%v: %s, want %s", c.at, got, c.want)
		}
		l, kind, ok := parseArchive(got)
		if !ok || l != labelOf(c.at) || kind != c.kind {
			t.Errorf("%s is read as %+v %c %v", got, l, kind, ok)
		}
	}
	if a := (label{1, 999_999_999}).after(); a != (label{2, 0}) {
		t.Errorf("after: %+v", a)
	}
}

func TestParseArchiveRefuses(t *testing.T) {
	for _, name := range []string{
		"", "@", "current", "previous", "@400000000000002500000000", "@400000000000002500000000.",
		"@400000000000002500000000.t", "@400000000000002500000000.ss", "@40000000000000250000000.s",
		"@40000000000000250000000g.s", "@40000000000000250000000A.s", "@400000000000002500000000,s",
		"@+0000000000000250000000.s", "@80000000000000000000000.s", "@800000000000000000000000.s",
		"@40000000000000253b9aca00.s", " 400000000000002500000000.s",
	} {
		if l, _, ok := parseArchive(name); ok {
			t.Errorf("%q is read as %+v", name, l)
		}
	}
}

func FuzzParseArchive(f *testing.F) {
	f.Add("@400000000000002500000000.s")
	f.Add("@400000006a18384a075bcd15.u")
	f.Add("@7fffffffffffffff3b9ac9ff.s")
	f.Add("current")
	f.Fuzz(func(t *testing.T, name string) {
		if l, kind, ok := parseArchive(name); ok && archiveName(l, kind) != name {
			t.Errorf("%q is read as %s", name, archiveName(l, kind))
		}
	})
}

func TestNamesSortAsLabels(t *testing.T) {
	labels := []label{{5, 0}, {5, 1}, {5, 999_999_999}, {6, 0}, {1 << 62, 3}}
	var names []string
	for i, l := range labels {
		names = append(names, archiveName(l, safe))
		if i > 0 && !labels[i-1].less(l) {
			t.Errorf("%v is not less than %v", labels[i-1], l)
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("%v", names)
	}
}
