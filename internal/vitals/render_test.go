package vitals

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/api"
	"hermes/internal/lifecycle"
	"hermes/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite generated files")

// at is a moment of the test's own, so many seconds after another.
func at(seconds float64) *time.Time {
	return new(time.Date(2026, 5, 28, 12, 42, 13, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second))))
}

// example is a fleet with everything a series can show.
func example() *api.Fleet {
	return &api.Fleet{
		Manager: "native (container supervisor)", Engine: "native", Version: "v1.2.3", EngineRestarts: 2,
		Gateways: []api.Gateway{
			{
				Profile: "default", Intent: "running", State: "running", Health: "ok", PID: 7, Restarts: 3,
				StartedAt: at(0), ReadyAt: at(1.25), MemoryBytes: 12345678901,
				LastExit: &api.Exit{Code: new(75), At: *at(-60.5)},
				LogLost:  4096, LogLostLines: 40, StdoutLost: 17,
			},
			{
				Profile: "coder", Intent: "running", State: "parked", Health: "unknown", Failures: 1,
				Reason: "exit 78 (configuration): API_KEY=secret", LastExit: &api.Exit{Code: new(78), At: *at(-1)},
			},
			{Profile: "killed", Intent: "running", State: "backoff", Health: "unknown", Failures: 6, LastExit: &api.Exit{Signal: "SIGKILL", At: *at(0)}},
			{Profile: "new", Intent: "stopped", State: "stopped", Health: "unknown"},
			{Profile: "slow", Intent: "running", State: "starting", Health: "unready", PID: 8, StartedAt: at(2), MemoryBytes: 1},
			{Profile: "unseen", Intent: "stopped", State: "stopped", Health: "unknown", LastExit: &api.Exit{At: *at(0)}},
		},
	}
}

// TestRender compares the whole of what is told of a fleet.
func TestRender(t *testing.T) {
	const golden = "testdata/example.prom"
	got := render(example())
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
	for _, secret := range []string{"secret", "exit 78", "SIGKILL"} {
		if bytes.Contains(got, []byte(secret)) {
			t.Errorf("it says %q, which nobody bounded", secret)
		}
	}
}

// TestPromtool: Prometheus's own tool has nothing against it.
func TestPromtool(t *testing.T) {
	path, err := exec.LookPath("promtool")
	if err != nil {
		testkit.Unavailable(t, "no promtool: apt-get install --no-install-recommends prometheus")
	}
	for name, text := range map[string][]byte{"example": render(example()), "empty": render(&api.Fleet{}), "down": renderDown()} {
		cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s%s", name, err, out, text)
		}
	}
}

// TestEveryStateHasASeries: what the table of lifecycle can show is shown.
func TestEveryStateHasASeries(t *testing.T) {
	for s := range lifecycle.Parked + 1 {
		if v := string(s.Visible()); !slices.Contains(states(), v) {
			t.Errorf("no series for the state %s", v)
		}
	}
}

// TestUnknownWords: a newer engine's state is none of ours, and no new label.
func TestUnknownWords(t *testing.T) {
	text := string(render(&api.Fleet{Gateways: []api.Gateway{{Profile: "a", State: "dreaming", Health: "so-so", Intent: "perhaps"}}}))
	if strings.Contains(text, "dreaming") || strings.Contains(text, "so-so") {
		t.Error("an unknown word became a label")
	}
	for _, want := range []string{
		`hermes_gateway_state{profile="a",state="running"} 0`, `hermes_gateway_health{profile="a",health="ok"} 0`,
		`hermes_gateway_intent_running{profile="a"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}

// TestClockSetBack: a start takes no less than no time.
func TestClockSetBack(t *testing.T) {
	text := string(render(&api.Fleet{Gateways: []api.Gateway{{Profile: "a", StartedAt: at(5), ReadyAt: at(1)}}}))
	if !strings.Contains(text, "\nhermes_gateway_startup_seconds{profile=\"a\"} 0\n") {
		t.Error(text)
	}
}

// line is what a reader of the format makes of a sample.
type line struct {
	name   string
	labels map[string]string
	value  string
}

// parse reads the text back, as strictly as the format is.
func parse(text string) ([]line, error) {
	var all []line
	for l := range strings.Lines(text) {
		l, ok := strings.CutSuffix(l, "\n")
		if !ok {
			return nil, fmt.Errorf("the last line has no end")
		}
		if strings.HasPrefix(l, "# HELP ") || strings.HasPrefix(l, "# TYPE ") {
			continue
		}
		i := strings.IndexAny(l, "{ ")
		if i < 0 {
			return nil, fmt.Errorf("no value in %q", l)
		}
		out := line{name: l[:i], labels: map[string]string{}}
		rest := l[i:]
		for strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, ",") {
			name, after, ok := strings.Cut(rest[1:], `="`)
			if !ok {
				return nil, fmt.Errorf("no label in %q", rest)
			}
			value, after, ok := unquote(after)
			if _, twice := out.labels[name]; !ok || twice {
				return nil, fmt.Errorf("label %s in %q", name, l)
			}
			out.labels[name], rest = value, after
		}
		out.value = strings.TrimPrefix(strings.TrimPrefix(rest, "}"), " ")
		if strings.ContainsAny(out.value, " {}\"") || out.value == "" {
			return nil, fmt.Errorf("value %q in %q", out.value, l)
		}
		all = append(all, out)
	}
	return all, nil
}

// unquote reads a label's value up to the quote that ends it.
func unquote(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return value, s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			c, known := map[byte]string{'\\': `\`, '"': `"`, 'n': "\n"}[s[i]]
			if !known {
				return "", "", false
			}
			value += c
		default:
			value += s[i : i+1]
		}
	}
	return "", "", false
}

// FuzzRender: whatever names and versions are, they stay where they belong.
func FuzzRender(f *testing.F) {
	f.Add("coder", "v1.2.3")
	f.Add("a\"} 1\nhermes_up 0 #", "\\")
	f.Add("\xff\xfe\\n", "\"\n\\\"")
	f.Add("# HELP x", "{}")
	f.Fuzz(func(t *testing.T, name, version string) {
		if name == "" {
			return
		}
		fleet := example()
		before, err := parse(string(render(fleet)))
		if err != nil {
			t.Fatal(err)
		}
		was := fleet.Gateways[1].Profile
		fleet.Gateways[1].Profile, fleet.Version = name, version
		after, err := parse(string(render(fleet)))
		if err != nil {
			t.Fatal(err)
		}
		if len(before) != len(after) {
			t.Fatalf("%d samples, not %d", len(after), len(before))
		}
		valid := func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		for i, b := range before {
			if b.labels["profile"] == was {
				b.labels["profile"] = valid(name)
			}
			if b.name == "hermes_build_info" {
				b.labels["version"] = valid(version)
			}
			if diff := cmp.Diff(b, after[i], cmp.AllowUnexported(line{})); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// TestRenderedSums: of every gateway exactly one state and one health is 1, and
// no series is there twice, whatever the fleet.
func TestRenderedSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,10}`), 0, 8, rapid.ID).Draw(t, "names")
		fleet := new(api.Fleet)
		for _, n := range names {
			fleet.Gateways = append(fleet.Gateways, api.Gateway{
				Profile: n, Intent: rapid.SampledFrom([]string{"running", "stopped"}).Draw(t, "intent"),
				State: rapid.SampledFrom(states()).Draw(t, "state"), Health: rapid.SampledFrom(healths()).Draw(t, "health"),
				Restarts: rapid.IntRange(0, 1e9).Draw(t, "restarts"), MemoryBytes: rapid.Int64Range(0, 1<<45).Draw(t, "memory"),
			})
		}
		lines, err := parse(string(render(fleet)))
		if err != nil {
			t.Fatal(err)
		}
		sums, seen := map[string]int{}, map[string]bool{}
		for _, l := range lines {
			key := fmt.Sprint(l.name, l.labels)
			if seen[key] {
				t.Fatalf("%s twice", key)
			}
			seen[key] = true
			if l.value == "1" {
				sums[l.name+" "+l.labels["profile"]]++
			}
		}
		for _, n := range names {
			for _, of := range []string{"hermes_gateway_state ", "hermes_gateway_health "} {
				if sums[of+n] != 1 {
					t.Fatalf("%s%s is 1 %d times", of, n, sums[of+n])
				}
			}
		}
	})
}

func BenchmarkRender(b *testing.B) {
	var fleet api.Fleet
	for n := range 1000 {
		g := example().Gateways[n%6]
		g.Profile = fmt.Sprintf("agent-%04d", n)
		fleet.Gateways = append(fleet.Gateways, g)
	}
	source := &fake{fleet: func(context.Context) (api.Fleet, error) { return fleet, nil }}
	b.ReportAllocs()
	for b.Loop() {
		text, err := newSheet(source).text(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
	}
}
