package gateway

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/port"
	"hermes/internal/profile"
	"hermes/internal/store"
)

const defaultHost = "127.0.0.1"

// settings is what the profile's files and the environment say, checked.
type settings struct {
	profile    profile.Name
	host       string
	port       int
	key        config.Secret // of our clients; "" only on loopback
	grace      time.Duration // for requests under way once we are told to stop
	notify     string        // the readiness socket, "" for none
	notifyFD   int           // the same under s6, 0 for none
	soul       string
	configFile string
	dotenvFile string
	// provider answers chats. Without one it is nil, and fix is the sentence
	// that says what to do about it.
	provider provider
	fix      string
}

// stopReserve is what of the stop timeout is kept for the end: the last words
// of requests that were cut off, and the files.
const stopReserve = time.Second

// readSettings reads the profile. The error is a fault of the code
// invalid_config, or unreadable.
func readSettings(p *store.Profile, environ []string) (settings, error) {
	env, err := config.FromEnviron(environ)
	if err != nil {
		return settings{}, err
	}
	file, err := p.Config()
	if err != nil {
		return settings{}, err
	}
	soul, err := p.Soul()
	if err != nil {
		return settings{}, err
	}
	stop := file.Gateway.StopTimeout
	if stop == 0 {
		stop = env.StopTimeout
	}
	s := settings{
		profile: p.Name(), host: defaultHost, port: env.APIServerPort, key: env.APIServerKey,
		grace: max(stop-stopReserve, stop/2), notify: env.NotifySocket, notifyFD: env.NotifyFD,
		soul:       strings.TrimSpace(strings.ToValidUTF8(string(soul), "\uFFFD")),
		configFile: filepath.Join(p.Path(), "config.yaml"), dotenvFile: filepath.Join(p.Path(), ".env"),
	}
	if env.APIServerHost != "" {
		s.host = env.APIServerHost
	}
	if file.Gateway.Host != "" {
		s.host = file.Gateway.Host
	}
	if s.port == 0 { // started by hand: launch says it otherwise
		s.port = port.Preferred(p.Name())
	}
	if err := s.checkKey(); err != nil {
		return settings{}, err
	}
	return s, s.choose(file.Model, environ)
}

// minKey is the length from which a key is taken for one: the original's.
const minKey = 8

// placeholders are the keys of examples, without blanks, dashes and lines.
func placeholders() []string {
	return []string{
		"changeme", "changethis", "replaceme", "placeholder", "yourkey", "yourapikey", "yourkeyhere", "yourapikeyhere",
		"yoursecret", "yoursecretkey", "apikey", "apiserverkey", "secretkey", "mysecret", "mysecretkey", "password",
		"example", "examplekey", "testtest", "12345678", "123456789", "1234567890",
	}
}

// checkKey refuses to serve other machines without a key that deserves the
// name.
func (s settings) checkKey() error {
	if !config.BeyondLoopback(s.host) {
		return nil
	}
	var wrong string
	switch key := s.key.Reveal(); {
	case key == "":
		wrong = "is not set"
	case len(key) < minKey:
		wrong = "is shorter than " + strconv.Itoa(minKey) + " characters"
	case isPlaceholder(key):
		wrong = "is a placeholder"
	default:
		return nil
	}
	return fault.New(fault.InvalidConfig, "cannot start %s: it would serve other machines on %s, and API_SERVER_KEY %s",
		s.profile.Slot(), s.host, wrong).
		WithHint("put API_SERVER_KEY=<%d or more random characters> into %s, or set gateway.host: %s in %s",
			2*minKey, s.dotenvFile, defaultHost, s.configFile)
}

func isPlaceholder(key string) bool {
	plain := strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -_.<>{}[]$", r) {
			return -1
		}
		return r
	}, key))
	if plain == "" || strings.Count(plain, plain[:1]) == len(plain) {
		return true // "xxxxxxxx", "--------"
	}
	return slices.Contains(placeholders(), plain)
}

// lookup is a variable's value in an environment; the first counts.
func lookup(environ []string, name string) string {
	for _, kv := range environ {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}
