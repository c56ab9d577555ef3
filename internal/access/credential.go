package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"sync"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// The shortest credentials that are taken, in bytes. A token and a secret are
// for machines, and cost nothing to be long.
const (
	minPassword = 8
	minToken    = 16
	minSecret   = 16
	maxPassword = 1024 // of an attempt
)

// tokenName is what the caller is called who has the token.
const tokenName = "token"

// check is the decision whether the dashboard may be served with these
// settings. The error names every variable that is missing or wrong.
func check(b Bind, d config.Dashboard) error {
	wrong := wrongSettings(d)
	switch {
	case len(wrong) > 0:
		return fault.New(fault.InvalidConfig, "cannot serve the dashboard: %s", strings.Join(wrong, "; "))
	case !b.Loopback && d.Username == "" && d.Token == "":
		where := b.Host
		if where == "" {
			where = "every address"
		}
		return fault.New(fault.InvalidConfig,
			"cannot serve the dashboard on %s without authentication: set %s and %s, or %s",
			where, config.EnvDashboardUsername, config.EnvDashboardPassword, config.EnvDashboardToken)
	}
	return nil
}

// wrongSettings are sentences about what is half set or too short.
func wrongSettings(d config.Dashboard) []string {
	var wrong []string
	add := func(such bool, words ...string) {
		if such {
			wrong = append(wrong, strings.Join(words, " "))
		}
	}
	password := d.Password != "" || d.PasswordHash != ""
	add(d.Username != "" && !password, config.EnvDashboardUsername, "is set, but neither", config.EnvDashboardPassword, "nor", config.EnvDashboardPasswordHash, "is")
	add(d.Username == "" && d.Password != "", config.EnvDashboardPassword, "is set without", config.EnvDashboardUsername)
	add(d.Username == "" && d.PasswordHash != "", config.EnvDashboardPasswordHash, "is set without", config.EnvDashboardUsername)
	add(d.Password != "" && d.PasswordHash != "", config.EnvDashboardPassword, "and", config.EnvDashboardPasswordHash, "exclude each other")
	add(strings.Contains(d.Username, ":"), config.EnvDashboardUsername, "contains a colon, which no browser can send")
	add(d.Password != "" && len(d.Password) < minPassword, config.EnvDashboardPassword, "is shorter than 8 characters")
	add(d.Token != "" && len(d.Token) < minToken, config.EnvDashboardToken, "is shorter than 16 characters")
	add(d.SessionSecret != "" && len(d.SessionSecret) < minSecret, config.EnvDashboardSecret, "is shorter than 16 characters")
	if d.PasswordHash != "" {
		if _, err := parseHash(d.PasswordHash.Reveal()); err != nil {
			add(true, config.EnvDashboardPasswordHash, "cannot be used:", err.Error())
		}
	}
	return wrong
}

// credentials are what opens the dashboard, as sums: what is compared has one
// length, whatever was sent.
type credentials struct {
	user, password, token [sha256.Size]byte
	hasUser, hasToken     bool
	hash                  *scryptHash // in the place of password
	name                  string

	turn chan struct{} // one hash is computed at a time: each takes memory

	mu     sync.Mutex        // guards proven
	key    []byte            // of proven, random
	proven [sha256.Size]byte // of the password that hash was found to be of
	known  bool
}

// newCredentials takes settings that check found good.
func newCredentials(d config.Dashboard) (*credentials, error) {
	c := &credentials{
		hasUser: d.Username != "", hasToken: d.Token != "", name: d.Username,
		user: sum(d.Username), password: sum(d.Password.Reveal()), token: sum(d.Token.Reveal()),
		turn: make(chan struct{}, 1), key: []byte(rand.Text()),
	}
	if d.PasswordHash != "" {
		h, err := parseHash(d.PasswordHash.Reveal())
		if err != nil {
			return nil, err
		}
		c.hash = &h
	}
	return c, nil
}

func sum(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

// none says that nothing protects the dashboard.
func (c *credentials) none() bool { return !c.hasUser && !c.hasToken }

// checkHeader checks an Authorization header and names who it is.
func (c *credentials) checkHeader(ctx context.Context, header string) (name string, ok bool) {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return tokenName, c.checkToken(value)
	case strings.EqualFold(scheme, "Basic"):
		pair, err := base64.StdEncoding.DecodeString(value)
		user, password, both := strings.Cut(string(pair), ":")
		return c.name, err == nil && both && c.checkPassword(ctx, user, password)
	}
	return "", false
}

func (c *credentials) checkToken(token string) bool {
	got := sum(token)
	return subtle.ConstantTimeCompare(got[:], c.token[:]) == 1 && c.hasToken
}

// checkPassword takes as long for a wrong name as for a wrong password.
func (c *credentials) checkPassword(ctx context.Context, user, password string) bool {
	if !c.hasUser || len(password) > maxPassword {
		return false
	}
	gotUser, gotPassword := sum(user), sum(password)
	right := subtle.ConstantTimeCompare(gotUser[:], c.user[:])
	if c.hash == nil {
		right &= subtle.ConstantTimeCompare(gotPassword[:], c.password[:])
	} else if !c.checkHash(ctx, password) {
		right = 0
	}
	return right == 1
}

// checkHash computes the hash, but for the password that was right before: a
// scraper that sends it every few seconds must not cost a tenth of a second of
// a core each time.
func (c *credentials) checkHash(ctx context.Context, password string) bool {
	mine := sha256.Sum256(mac(c.key, []byte(password)))
	if c.isProven(mine) {
		return true
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return false
	}
	got, err := c.hash.sum(password)
	if err != nil || subtle.ConstantTimeCompare(got, c.hash.key) != 1 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven, c.known = mine, true
	return true
}

func (c *credentials) isProven(mine [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known && subtle.ConstantTimeCompare(mine[:], c.proven[:]) == 1
}
