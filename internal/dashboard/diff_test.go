package dashboard

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDiff(t *testing.T) {
	a, b, c := row{Profile: "a"}, row{Profile: "b"}, row{Profile: "c"}
	changed := row{Profile: "b", State: "parked"}
	for _, tt := range []struct {
		name          string
		before, after []row
		want          change
	}{
		{"nothing", nil, nil, change{}},
		{"the same", []row{a, b}, []row{a, b}, change{}},
		{"the first", nil, []row{a, b}, change{set: []row{a, b}}},
		{"all gone", []row{a, b}, nil, change{gone: []string{"a", "b"}}},
		{"one new", []row{a, c}, []row{a, b, c}, change{set: []row{b}}},
		{"one gone", []row{a, b, c}, []row{a, c}, change{gone: []string{"b"}}},
		{"one changed", []row{a, b, c}, []row{a, changed, c}, change{set: []row{changed}}},
		{"renamed", []row{a, b}, []row{b, c}, change{set: []row{c}, gone: []string{"a"}}},
	} {
		if got := diff(tt.before, tt.after); !cmp.Equal(got, tt.want, cmp.AllowUnexported(change{}, row{})) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// drawRows is any fleet.
func drawRows(t *rapid.T, label string) []row {
	return sortRows(rapid.SliceOf(rapid.Custom(func(t *rapid.T) row {
		return row{
			Profile: rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "profile"),
			State:   rapid.SampledFrom([]string{"running", "parked"}).Draw(t, "state"),
			Memory:  rapid.Int64Range(0, 3).Draw(t, "memory") * 100,
			PID:     rapid.IntRange(0, 2).Draw(t, "pid"),
		}
	})).Draw(t, label))
}

// What a page is told leads it from any fleet to any other, and tells nothing
// that it knows.
func TestDiffLeadsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawRows(t, "before"), drawRows(t, "after")
		c := diff(before, after)
		page := map[string]row{}
		for _, r := range before {
			page[r.Profile] = r
		}
		for _, r := range c.set {
			if page[r.Profile] == r {
				t.Errorf("%+v is told and was known", r)
			}
			page[r.Profile] = r
		}
		for _, name := range c.gone {
			if _, there := page[name]; !there {
				t.Errorf("%s goes and was not there", name)
			}
			delete(page, name)
		}
		got := []row{}
		for _, r := range page {
			got = append(got, r)
		}
		if !slices.Equal(sortRows(got), after) {
			t.Errorf("the page has %+v, the fleet %+v", got, after)
		}
	})
}

// Memory that moves a little is not worth a message; one of another run is.
func TestSettle(t *testing.T) {
	before := []row{{Profile: "a", PID: 1, Memory: 1000}, {Profile: "b", PID: 1, Memory: 1000}, {Profile: "c", PID: 1, Memory: 1000}, {Profile: "e", PID: 1}}
	after := []row{{Profile: "a", PID: 1, Memory: 1049}, {Profile: "b", PID: 1, Memory: 1050}, {Profile: "c", PID: 2, Memory: 1001}, {Profile: "d", PID: 1, Memory: 1}, {Profile: "e", PID: 1, Memory: 1}}
	settle(before, after)
	var got []int64
	for _, r := range after {
		got = append(got, r.Memory)
	}
	if want := []int64{1000, 1050, 1001, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
