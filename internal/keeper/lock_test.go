package keeper

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func FuzzParseRecord(f *testing.F) {
	r := record{slot: "gateway-a", generation: 3, pid: 42, birth: 99, boot: BootID(), pidns: PIDNamespace()}
	for _, s := range []string{r.String() + "\n", r.String(), "", "\n", "a 1 2 3 - 4\n", "a 1 1 3 - 4\n", "a 1 -2 3 - 4\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseRecord(b)
		if !ok {
			return
		}
		if r.pid <= 1 || !validSlot(r.slot) {
			t.Fatalf("%q is accepted: %+v", b, r)
		}
		if again, ok := parseRecord([]byte(r.String() + "\n")); !ok || again != r {
			t.Fatalf("%+v was written, %+v read (%v)", r, again, ok)
		}
	})
}

func TestParseRecord(t *testing.T) {
	r := record{slot: "gateway-a", generation: 3, pid: 42, birth: 99, boot: "b", pidns: 7}
	if got, ok := parseRecord([]byte(r.String() + "\n")); !ok || got != r {
		t.Errorf("read %+v (%v), want %+v", got, ok, r)
	}
	if _, ok := parseRecord([]byte(r.String())); ok {
		t.Error("a record cut short is accepted")
	}
}

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
	st, err := parseStat([]byte("7 (a) b c) Z 2 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1234 0"))
	if err != nil || st != (stat{state: 'Z', parent: 2, start: 1234}) {
		t.Errorf("read %+v, %v", st, err)
	}
	if _, err := parseStat([]byte("7 (a) Z 2 0")); err == nil {
		t.Error("a short line is accepted")
	}
	start, err := StartTime(os.Getpid())
	if now := ticksNow(); err != nil || start == 0 || start > now {
		t.Errorf("this process started at %d of %d (%v)", start, now, err)
	}
}

func TestKillGroupOf(t *testing.T) {
	leader := exec.Command("/bin/sh", "-c", "sleep 1000 & echo $!; wait")
	leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := leader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	member, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	birth, err := StartTime(leader.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if killGroupOf(leader.Process.Pid, birth+1) {
		t.Error("a process of another birth was killed")
	}
	if st, err := readStat(leader.Process.Pid); err != nil || st.state == 'Z' || st.state == 'T' {
		t.Fatalf("it was touched: %c %v", st.state, err)
	}
	if !killGroupOf(leader.Process.Pid, birth) {
		t.Error("the process on record was not killed")
	}
	_ = leader.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		if st, err := readStat(member); err != nil || st.state == 'Z' {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a member of its group lives")
		}
	}
}
