package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func FuzzIndented(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":{}}`, `[[],{},[[]]]`, "[ ]", "{ \n}", `[{"a":[1,2,{"b":null}],"c":"d"},-1.5e3,true]`, `""`, `"\""`, `"\\"`,
		`{"a, b: {c} [d]":"{\"x\": [1, 2]}\\"}`, " {\t\"a\" :\r\n1 , \"b\": [ 2 ,3 ] } \n", `"é\u2028 ` + "\u2028" + `"`, `12`, "\"\x7f<&>\"",
		``, `{`, ` [ `, `}`, `]]`, `"`, `"\`, `{"a`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			indented(raw) // whatever comes of it, it comes to an end
			return
		}
		var want bytes.Buffer
		if err := json.Indent(&want, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		if got := string(indented(raw)); got != strings.TrimRight(want.String(), " \t\r\n")+"\n" {
			t.Fatalf("%q: got %q, want %q", raw, got, want.String())
		}
	})
}

func BenchmarkIndented(b *testing.B) {
	const row = `{"profile":"w1","slot":"gateway-w1","intent":"running","intent_by":"cli uid 0","state":"running","health":"ok","pid":12,"restarts":0}`
	raw := []byte(`{"gateways":[` + strings.Repeat(row+",", 999) + row + `]}`)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			indented(raw)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if err := json.Indent(new(bytes.Buffer), raw, "", "  "); err != nil {
				b.Fatal(err)
			}
		}
	})
}
