package store

import (
	"errors"
	"io/fs"
	"path/filepath"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// Files of a profile that people write.
const (
	configFile = "config.yaml"
	dotenvFile = ".env"
)

// MaxSoulSize is the largest SOUL.md that is read, in bytes.
const MaxSoulSize = 1 << 20

// Profile is an open profile directory. It stays the same directory when that
// is renamed. [Profile.Close] releases it.
type Profile struct {
	name     profile.Name
	dir      dir
	id       ID
	readOnly bool
}

// Profile opens a profile. Without a directory of that name, or one without
// SOUL.md, the error is that of [fault.NotRegistered]; the default profile is
// always there.
func (h *Home) Profile(n profile.Name) (*Profile, error) {
	p, err := h.openProfile(n)
	if err != nil || n == profile.Default {
		return p, err
	}
	marked, err := p.dir.marked()
	if err == nil && marked {
		return p, nil
	}
	_ = p.Close()
	if err != nil {
		return nil, readFault(p.dir.path, err)
	}
	return nil, fault.NotRegistered(string(n))
}

// openProfile is Profile without the mark.
func (h *Home) openProfile(n profile.Name) (*Profile, error) {
	path := h.ProfilePath(n)
	if n == profile.Default {
		root, err := h.dir.root.sub(".")
		if err != nil {
			return nil, homeFault("open", path, err)
		}
		return &Profile{name: n, dir: dir{root: root, path: path, owner: h.dir.owner}, id: h.id, readOnly: h.readOnly}, nil
	}
	if _, err := profile.ParseNew(string(n)); err != nil {
		return nil, fault.NotRegistered(string(n))
	}
	profiles, err := h.keptProfiles()
	if err == nil {
		var d dir
		var info fs.FileInfo
		if d, info, err = profiles.sub(string(n)); err == nil {
			return &Profile{name: n, dir: d, id: idOf(info), readOnly: h.readOnly}, nil
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.NotRegistered(string(n))
	case isBad(err):
		return nil, fault.Wrap(fault.GatewayNotRegistered, err, "cannot use %s as a profile", path).
			WithHint("a profile is a directory of its own: move it to %s", quote(path))
	}
	return nil, readFault(path, err)
}

// Close releases the descriptor.
func (p *Profile) Close() error { return p.dir.root.Close() }

// Name is the name the profile was opened under.
func (p *Profile) Name() profile.Name { return p.name }

// Path is the path the profile was opened under.
func (p *Profile) Path() string { return p.dir.path }

// ID identifies the profile's directory.
func (p *Profile) ID() ID { return p.id }

// Config reads config.yaml; without one the defaults hold. The error is an
// invalid_config or unreadable fault.
func (p *Profile) Config() (config.File, error) {
	data, err := p.ConfigText()
	if err != nil {
		return config.File{}, err
	}
	return p.ParseConfig(data)
}

// ConfigText is the content of config.yaml, nil without one, for a caller that
// knows what some of it says already. The error is an unreadable fault.
func (p *Profile) ConfigText() ([]byte, error) { return p.file(configFile, config.MaxFileSize) }

// ParseConfig is what a text of [Profile.ConfigText] says. The error is an
// invalid_config fault.
func (p *Profile) ParseConfig(text []byte) (config.File, error) {
	return config.ParseFile(p.at(configFile), text)
}

// Dotenv reads .env; without one there are no variables. The error is an
// invalid_config or unreadable fault.
func (p *Profile) Dotenv() (map[string]string, error) {
	data, err := p.file(dotenvFile, config.MaxDotenvSize)
	if err != nil {
		return nil, err
	}
	return config.ParseDotenv(p.at(dotenvFile), data)
}

// Soul reads SOUL.md, at most [MaxSoulSize] bytes; nil without one. The error
// is an unreadable fault.
func (p *Profile) Soul() ([]byte, error) { return p.file(soulFile, MaxSoulSize) }

// Marked reports whether there is a SOUL.md; only the default profile can be
// open without.
func (p *Profile) Marked() (bool, error) {
	marked, err := p.dir.marked()
	if err != nil {
		return false, readFault(p.at(soulFile), err)
	}
	return marked, nil
}

// file reads a file a person wrote; nil when there is none.
func (p *Profile) file(name string, limit int64) ([]byte, error) {
	data, err := p.dir.read(name, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, readFault(p.at(name), err)
	}
	return data, nil
}

func (p *Profile) at(name string) string { return filepath.Join(p.dir.path, name) }

// writable fails for a profile that was opened only to be looked at.
func (p *Profile) writable() error {
	if p.readOnly {
		return fault.New(fault.Internal, "cannot write to profile %s: its home was opened read-only", p.dir.path)
	}
	return nil
}
