package config

import (
	"regexp"
	"testing"
)

func FuzzIsHostName(f *testing.F) {
	pattern := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	for _, s := range []string{
		"", "a", "Z", "0", "9", "a.b-c.D9", "-a", "a-", ".", "a.", "a b", "a_b", "é", "aéb", "a\n", "[a", "{a", "a`b", "a@b", "a/b", "a:b", "\xc1b", "a\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := isHostName(s); got != pattern.MatchString(s) {
			t.Errorf("%q: %v", s, got)
		}
	})
}
