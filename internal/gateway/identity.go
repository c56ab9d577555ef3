package gateway

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"strconv"
	"strings"
)

// Files of a gateway.
const (
	lockFile  = "gateway.lock"
	pidFile   = "gateway.pid"
	stateName = "gateway_state.json"
)

// identity says which process a gateway is, in the words of the original: a
// pid alone may be another process's by now.
type identity struct {
	PID       int      `json:"pid"`
	Kind      string   `json:"kind"`
	Argv      []string `json:"argv"`
	StartTime uint64   `json:"start_time"` // field 22 of /proc/<pid>/stat, clock ticks since boot
	Home      string   `json:"hermes_home"`
}

func selfIdentity(o Options) identity {
	id := identity{PID: os.Getpid(), Kind: "hermes-gateway", Argv: o.Argv, Home: o.Dir}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		id.StartTime = startTime(string(stat))
	}
	return id
}

// startTime reads field 22 of a /proc/<pid>/stat, 0 if there is none. The name
// in field 2 may hold blanks and parentheses, so it ends at the last one.
func startTime(stat string) uint64 {
	const after = 22 - 3 // the first field after the name is the third
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= after {
		return 0
	}
	n, _ := strconv.ParseUint(fields[after], 10, 64)
	return n
}

func (id identity) encode() []byte {
	data, err := encode(id)
	if err != nil {
		panic("internal error: an identity of strings and numbers is not JSON: " + err.Error())
	}
	return data
}

// writePIDFile replaces gateway.pid. Only the holder of gateway.lock may.
func writePIDFile(dir *os.Root, id identity) error {
	return replaceFile(dir, pidFile, id.encode())
}

// removePIDFile removes gateway.pid; what stays is stale and known to be so.
func removePIDFile(dir *os.Root) { _ = dir.Remove(pidFile) }

// replaceFile replaces a file in one step for every reader. The temporary name
// is of the form the store clears away after a crash.
func replaceFile(dir *os.Root, name string, data []byte) error {
	tmp := "." + name + ".tmp-" + strings.ToLower(rand.Text())
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = dir.Rename(tmp, name)
	}
	if err != nil {
		_ = dir.Remove(tmp)
	}
	return err
}

// encode is v as one line of JSON, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}
