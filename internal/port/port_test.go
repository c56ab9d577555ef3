package port_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/internal/port"
	"hermes/internal/profile"
)

func TestPreferredIsTheSeedsFunction(t *testing.T) {
	if got := port.Preferred(profile.Default); got != 8642 {
		t.Errorf("default: got %d, want 8642", got)
	}
	for _, n := range []profile.Name{"coder", "writer", "a", "x-1_2"} {
		sum := sha256.Sum256([]byte(n))
		mod := new(big.Int).Mod(new(big.Int).SetBytes(sum[:8]), big.NewInt(600))
		if got, want := port.Preferred(n), 9200+int(mod.Int64()); got != want {
			t.Errorf("%s: got %d, want %d", n, got, want)
		}
	}
}

// pair returns two names that prefer the same port, the smaller one first.
func pair(t *testing.T) (a, b profile.Name) {
	t.Helper()
	seen := map[int]profile.Name{}
	for i := range 10_000 {
		n := profile.Name(fmt.Sprintf("p%05d", i))
		if first, ok := seen[port.Preferred(n)]; ok {
			return first, n
		}
		seen[port.Preferred(n)] = n
	}
	t.Fatal("no two names prefer the same port")
	return "", ""
}

func TestAssign(t *testing.T) {
	a, b := pair(t)
	want := port.Preferred(a)
	next := port.First + (want-port.First+1)%port.Count
	tests := []struct {
		name   string
		claims []port.Claim
		want   map[profile.Name]int
		err    string
	}{
		{"nothing", nil, map[profile.Name]int{}, ""},
		{"preferred", []port.Claim{{Name: "default"}, {Name: a}}, map[profile.Name]int{"default": 8642, a: want}, ""},
		{"clash of the preferred", []port.Claim{{Name: b}, {Name: a}}, map[profile.Name]int{a: want, b: next}, ""},
		{"recorded beats preferred", []port.Claim{{Name: a}, {Name: b, Recorded: want}}, map[profile.Name]int{a: next, b: want}, ""},
		{"explicit beats recorded", []port.Claim{{Name: a, Recorded: 9300}, {Name: b, Explicit: 9300}}, map[profile.Name]int{a: want, b: 9300}, ""},
		{"explicit beats own record", []port.Claim{{Name: a, Recorded: 9300, Explicit: 80}}, map[profile.Name]int{a: 80}, ""},
		{"a record outside the range is history", []port.Claim{{Name: a, Recorded: 3000}}, map[profile.Name]int{a: want}, ""},
		{"default ignores its record", []port.Claim{{Name: "default", Recorded: 9201}}, map[profile.Name]int{"default": 8642}, ""},
		{
			"default moves when told off",
			[]port.Claim{{Name: "default"}, {Name: a, Explicit: 8642}},
			map[profile.Name]int{"default": 9200, a: 8642},
			"",
		},
		{
			"explicit clash",
			[]port.Claim{{Name: "c", Explicit: 80}, {Name: "b", Explicit: 80}, {Name: "a", Explicit: 80}},
			map[profile.Name]int{"a": 80, "b": 80, "c": 80},
			"port 80 is claimed by 'a', 'b' and 'c'",
		},
		{"same record twice", []port.Claim{{Name: b, Recorded: 9300}, {Name: a, Recorded: 9300}}, map[profile.Name]int{a: 9300, b: want}, ""},
		{"same name twice", []port.Claim{{Name: a, Explicit: 80}, {Name: a, Explicit: 81}}, map[profile.Name]int{a: 80}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := port.Assign(tt.claims)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if text := fmt.Sprint(err); err != nil && text != tt.err || err == nil && tt.err != "" {
				t.Errorf("error %q, want %q", text, tt.err)
			}
		})
	}
}

func TestAssignFullRange(t *testing.T) {
	claims := []port.Claim{{Name: "default"}}
	for i := range port.Count + 2 {
		claims = append(claims, port.Claim{Name: profile.Name(fmt.Sprintf("p%04d", i))})
	}
	got, err := port.Assign(claims)
	full, ok := errors.AsType[*port.FullError](err)
	if !ok || !slices.Equal(full.Names, []profile.Name{"p0600", "p0601"}) {
		t.Fatalf("error %v, want the last two names", err)
	}
	if len(got) != port.Count+1 {
		t.Errorf("%d profiles have a port, want %d", len(got), port.Count+1)
	}
}

func TestAssignProperties(t *testing.T) {
	ports := rapid.OneOf(rapid.Just(0), rapid.IntRange(9200, 9230), rapid.IntRange(8640, 8644))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.IntRange(0, 500), 0, 60, rapid.ID).Draw(t, "names")
		var claims []port.Claim
		explicit := map[profile.Name]bool{}
		for _, i := range names {
			n := profile.Name("p" + strconv.Itoa(i))
			if i == 0 {
				n = profile.Default
			}
			c := port.Claim{Name: n, Explicit: ports.Draw(t, "explicit"), Recorded: ports.Draw(t, "recorded")}
			explicit[n] = c.Explicit != 0
			claims = append(claims, c)
		}
		got, err := port.Assign(claims)
		if _, full := errors.AsType[*port.FullError](err); full {
			t.Fatalf("full with %d profiles", len(claims))
		}
		owners := map[int]profile.Name{}
		for _, c := range claims {
			p, ok := got[c.Name]
			if !ok {
				t.Fatalf("%s has no port", c.Name)
			}
			if other, taken := owners[p]; taken && !(explicit[c.Name] && explicit[other]) {
				t.Fatalf("%s and %s both have %d", c.Name, other, p)
			}
			owners[p] = c.Name
			if c.Explicit != 0 && p != c.Explicit {
				t.Fatalf("%s was told %d and got %d", c.Name, c.Explicit, p)
			}
		}
		again, _ := port.Assign(rapid.Permutation(claims).Draw(t, "order"))
		if diff := cmp.Diff(got, again); diff != "" {
			t.Fatalf("the order of claims matters: %s", diff)
		}
		// What was assigned is recorded; recording it changes nothing.
		for i := range claims {
			claims[i].Recorded = got[claims[i].Name]
		}
		recorded, _ := port.Assign(claims)
		if diff := cmp.Diff(got, recorded); diff != "" {
			t.Fatalf("ports move although they are recorded: %s", diff)
		}
	})
}

// TestBookGrowsLikeANewOne: profile by profile, with a new book only where Add
// asks for one, everybody has what Assign gives, and nobody's port moves but
// for an explicit one.
func TestBookGrowsLikeANewOne(t *testing.T) {
	ports := rapid.OneOf(rapid.Just(0), rapid.Just(0), rapid.IntRange(9200, 9230))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.IntRange(1, 500), 0, 60, rapid.ID).Draw(t, "names")
		book := port.NewBook(nil)
		var claims []port.Claim
		for _, i := range names {
			c := port.Claim{
				Name:     profile.Name("p" + strconv.Itoa(i)),
				Explicit: ports.Draw(t, "explicit"), Recorded: ports.Draw(t, "recorded"),
			}
			claims = append(claims, c)
			if hasPort(claims[:len(claims)-1], book, c.Recorded) { // who has it keeps it
				claims[len(claims)-1].Recorded = 0
			}
			want, err := port.Assign(claims)
			if book.Add(c) == (c.Explicit != 0 && hasPort(claims[:len(claims)-1], book, c.Explicit)) {
				t.Fatalf("%+v: Add is wrong about whether somebody has its port", c)
			}
			if book.Of(c.Name) == 0 {
				book = port.NewBook(claims)
			}
			for i := range claims {
				if got := book.Of(claims[i].Name); got != want[claims[i].Name] {
					t.Fatalf("%s has %d, want %d", claims[i].Name, got, want[claims[i].Name])
				}
				claims[i].Recorded = want[claims[i].Name]
			}
			if fmt.Sprint(book.Problems()) != fmt.Sprint(err) {
				t.Fatalf("problems %v, want %v", book.Problems(), err)
			}
		}
	})
}

// hasPort says whether one of these profiles has the port.
func hasPort(claims []port.Claim, book *port.Book, number int) bool {
	return slices.ContainsFunc(claims, func(c port.Claim) bool { return book.Of(c.Name) == number })
}

// TestBookOfAFullRange still takes profiles, which get no port.
func TestBookOfAFullRange(t *testing.T) {
	book := port.NewBook(nil)
	var claims []port.Claim
	for i := range port.Count + 50 {
		c := port.Claim{Name: profile.Name(fmt.Sprintf("p%03d", i))}
		claims = append(claims, c)
		if !book.Add(c) || book.Add(c) {
			t.Fatalf("%s is not taken once", c.Name)
		}
	}
	want, err := port.Assign(claims)
	for _, c := range claims {
		if got := book.Of(c.Name); got != want[c.Name] {
			t.Errorf("%s has %d, want %d", c.Name, got, want[c.Name])
		}
	}
	if got := book.Problems(); err == nil || got == nil || got.Error() != err.Error() {
		t.Errorf("problems %v, want %v", got, err)
	}
}

// BenchmarkAdd is what one profile more costs, in fleets of two sizes.
func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{100, 5000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var claims []port.Claim
			for i := range n {
				claims = append(claims, port.Claim{Name: profile.Name(fmt.Sprintf("p%05d", i))})
			}
			book := port.NewBook(claims)
			i := 0
			for b.Loop() {
				i++
				if !book.Add(port.Claim{Name: profile.Name("q" + strconv.Itoa(i)), Explicit: 10000 + i}) {
					b.Fatal("refused")
				}
			}
		})
	}
}

// TestManyNamesStayReadable: an error about a fleet of a thousand is one line.
func TestManyNamesStayReadable(t *testing.T) {
	var names []profile.Name
	for i := range 400 {
		names = append(names, profile.Name(fmt.Sprintf("p%03d", i)))
	}
	got := (&port.FullError{Names: names}).Error()
	if want := "'p000', 'p001', 'p002', 'p003', 'p004' and 395 more"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end with %q", got, want)
	}
}
