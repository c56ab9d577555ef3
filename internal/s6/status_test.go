package s6

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unhex is bytes as xxd shows them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A stamp: 2026-11-23 00:00:00 UTC and half a second.
const stampHex = "400000006b038225 1dcd6500"

func stampTime() time.Time { return time.Unix(0x6b038225-37, 500_000_000) }

func TestParseStatus(t *testing.T) {
	at := stampTime()
	for name, c := range map[string]struct {
		hex  string
		want Status
	}{
		"up, ready":               {stampHex + stampHex + "00000000000004d2 0000 0c", Status{Since: at, ReadySince: at, PID: 1234, WantUp: true, Ready: true}},
		"up, not ready, once":     {stampHex + stampHex + "00000000000004d2 0100 00", Status{Since: at, ReadySince: at, PID: 1234, Code: 1}},
		"up, paused":              {stampHex + stampHex + "00000000000004d2 0000 05", Status{Since: at, ReadySince: at, PID: 1234, WantUp: true, Paused: true}},
		"finishing after SIGTERM": {stampHex + stampHex + "00000000000004d2 000f 02", Status{Since: at, ReadySince: at, PID: 1234, Code: -1, Signal: unix.SIGTERM, Finishing: true}},
		"down after exit 78":      {stampHex + stampHex + "0000000000000000 4e00 08", Status{Since: at, ReadySince: at, Code: 78, Ready: true}},
		"down after a core dump":  {stampHex + stampHex + "0000000000000000 008b 08", Status{Since: at, ReadySince: at, Code: -1, Signal: unix.SIGSEGV, Ready: true}},
		"not started, since 2.13": {stampHex + stampHex + "0000000000000000 0000 0d", Status{Since: at, ReadySince: at, WantUp: true, Ready: true, NotStarted: true}},
		"with the group, 2.13":    {stampHex + stampHex + "00000000000004d2 00000000000004d2 0200 04", Status{Since: at, ReadySince: at, PID: 1234, Code: 2, WantUp: true}},
		"zero stamps":             {strings.Repeat("00", 24) + "0000000000000000 0000 04", Status{WantUp: true}},
	} {
		got, err := ParseStatus(unhex(t, c.hex))
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestParseStatusErrors(t *testing.T) {
	whole := stampHex + stampHex + "00000000000004d2 0000 0c"
	for name, s := range map[string]string{
		"empty":                "",
		"a byte less":          whole[:len(whole)-2],
		"a byte more":          whole + "00",
		"a stamp of no time":   "c00000006b038225 1dcd6500" + stampHex + "00000000000004d2 0000 0c",
		"a stamp of 2 seconds": "400000006b038225 77359400" + stampHex + "00000000000004d2 0000 0c",
		"the other stamp":      stampHex + "c00000006b038225 1dcd6500" + "00000000000004d2 0000 0c",
		"a pid beyond any":     stampHex + stampHex + "0000000080000000 0000 0c",
		"a flag of no version": stampHex + stampHex + "00000000000004d2 0000 1c",
	} {
		if got, err := ParseStatus(unhex(t, s)); !errors.Is(err, errStatus) || got != (Status{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzParseStatus: what is read as a status has what is in the bytes, and is
// one of up, finishing and down.
func FuzzParseStatus(f *testing.F) {
	f.Add(unhex(f, stampHex+stampHex+"00000000000004d2 0000 0c"))
	f.Add(unhex(f, stampHex+stampHex+"00000000000004d2 00000000000004d2 000f 02"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStatus(b)
		if err != nil {
			if s != (Status{}) {
				t.Errorf("an error, and %+v", s)
			}
			return
		}
		if uint64(s.PID) != binary.BigEndian.Uint64(b[24:]) || s.PID < 0 {
			t.Errorf("pid %d", s.PID)
		}
		if s.Up() && s.Down() || s.Stopping() && !s.Up() || s.Paused && s.NotStarted {
			t.Errorf("in two states: %+v", s)
		}
		if s.Signal != 0 && s.Code != -1 {
			t.Errorf("exit %d and %v", s.Code, s.Signal)
		}
		if !s.Since.IsZero() && s.Since.Unix() != int64(binary.BigEndian.Uint64(b))-1<<62-37 {
			t.Errorf("since %v", s.Since)
		}
	})
}

func TestParseDeaths(t *testing.T) {
	got, err := ParseDeaths(unhex(t, stampHex+"4e00"+stampHex+"8f0f"))
	want := []Death{{At: stampTime(), Code: 78}, {At: stampTime(), Code: -1, Signal: unix.SIGTERM}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"00", stampHex + "4e", "c00000006b038225 1dcd6500 0000"} {
		if got, err := ParseDeaths(unhex(t, bad)); err == nil || got != nil {
			t.Errorf("%s: %+v, %v", bad, got, err)
		}
	}
}

func FuzzParseDeaths(f *testing.F) {
	f.Add(unhex(f, stampHex+"4e00"+stampHex+"8f0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		deaths, err := ParseDeaths(b)
		if err == nil && len(deaths) != len(b)/14 || err != nil && deaths != nil {
			t.Errorf("%d deaths of %d bytes, %v", len(deaths), len(b), err)
		}
		for _, d := range deaths {
			if d.Signal != 0 && d.Code != -1 || d.Code < -1 || d.Code > 255 {
				t.Errorf("%+v", d)
			}
		}
	})
}

// svstat asks s6's own tool.
func svstat(t *testing.T, d Scandir, slot string) map[string]string {
	t.Helper()
	fields := "up,wantedup,normallyup,ready,paused,pid,exitcode,signum,updownsince,readysince"
	out, err := exec.CommandContext(t.Context(), "s6-svstat", "-o", fields, d.path(slot)).Output()
	must(t, err)
	values := strings.Fields(string(out))
	got := map[string]string{}
	for i, f := range strings.Split(fields, ",") {
		got[f] = values[i]
	}
	return got
}

// label is a time as s6 prints it.
func label(at time.Time) string {
	b := binary.BigEndian.AppendUint64([]byte{}, uint64(at.Unix()+taiEpoch))
	return "@" + hex.EncodeToString(binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond())))
}

// TestSvstatAgrees: s6-svstat and this package say the same of a slot, in every
// state it can be in.
func TestSvstatAgrees(t *testing.T) {
	d := running(t)
	ready := spec(t, "gateway-ready", "ready")
	ready.NotificationFD = 3
	down, held := spec(t, "gateway-down", "sleep"), spec(t, "gateway-held", "exit 3")
	down.Down = true
	held.Data["hold"] = ""
	for _, s := range []Spec{spec(t, "gateway-up", "sleep"), ready, down, held, spec(t, "gateway-parked", "exit 78"), spec(t, "gateway-killed", "kill 9")} {
		must(t, d.Register(t.Context(), s))
	}
	for slot, settled := range map[string]func(State) bool{
		"gateway-up":     func(s State) bool { return s.Up() && !s.Ready && s.WantUp && !s.KeptDown },
		"gateway-ready":  func(s State) bool { return s.Up() && s.Ready },
		"gateway-down":   func(s State) bool { return s.Down() && !s.WantUp && s.KeptDown },
		"gateway-held":   func(s State) bool { return s.Finishing && s.Code == 3 && s.PID != 0 && !s.Up() && !s.Down() },
		"gateway-parked": func(s State) bool { return s.Down() && !s.WantUp && s.Code == 78 && !s.KeptDown },
		"gateway-killed": func(s State) bool { return s.Signal == unix.SIGKILL && s.Code == -1 },
	} {
		var s State
		var theirs map[string]string
		eventually(t, slot+" settles", func() bool { s = state(t, d, slot); return settled(s) })
		eventually(t, "two looks at "+slot+" see the same state", func() bool { // one of them restarts every second
			s, theirs = state(t, d, slot), svstat(t, d, slot)
			return state(t, d, slot) == s
		})
		for field, mine := range map[string]string{
			"up": word(s.Up()), "wantedup": word(s.WantUp), "normallyup": word(!s.KeptDown), "paused": word(s.Paused),
			"updownsince": label(s.Since), "pid": strconv.Itoa(s.livePID()), "exitcode": s.lastCode(), "signum": s.lastSignal(),
		} {
			if theirs[field] != mine {
				t.Errorf("%s: %s is %s, here %s", slot, field, theirs[field], mine)
			}
		}
	}
	must(t, os.Remove(filepath.Join(d.path("gateway-held"), "data", "hold")))
}

// livePID, lastCode and lastSignal are what s6-svstat shows: -1 for what does
// not apply.
func (s State) livePID() int {
	if s.Up() {
		return s.PID
	}
	return -1
}

func (s State) lastCode() string {
	if s.Up() {
		return "-1"
	}
	return strconv.Itoa(s.Code)
}

func (s State) lastSignal() string {
	if s.Up() || s.Signal == 0 {
		return "-1"
	}
	return strconv.Itoa(int(s.Signal))
}

func word(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// TestDeaths: each end of a run is in the tally of s6-supervise.
func TestDeaths(t *testing.T) {
	d := running(t)
	must(t, d.Register(t.Context(), spec(t, "gateway-coder", "exit 78")))
	var deaths []Death
	eventually(t, "the exit is counted", func() bool { deaths, _ = d.Deaths("gateway-coder"); return len(deaths) == 1 })
	if got := deaths[0]; got.Code != 78 || got.Signal != 0 || time.Since(got.At) > patience || time.Since(got.At) < -time.Second {
		t.Errorf("%+v", got)
	}
	if _, err := d.Deaths("gateway-typo"); err == nil {
		t.Error("deaths of no slot")
	}
}
