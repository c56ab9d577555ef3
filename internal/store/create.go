package store

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// Names hermes uses in profiles/ while a profile is made or removed. No
// profile starts with a dot.
const (
	stagingMark   = ".staging-"
	deletedPrefix = ".deleted-"
)

// isStaging reports a name in profiles/ that is hermes's own.
func isStaging(name string) bool {
	return strings.HasPrefix(name, deletedPrefix) || strings.HasPrefix(name, ".") && strings.Contains(name, stagingMark)
}

// CreateProfile makes a profile with a persona, a config.yaml of comments and
// an empty .env, and returns its path. It appears in one step. A directory of
// that name without SOUL.md is completed; a profile is a profile_exists fault.
func (h *Home) CreateProfile(n profile.Name) (string, error) {
	if err := h.writable(); err != nil {
		return "", err
	}
	if err := checkNew(n); err != nil {
		return "", err
	}
	path := h.ProfilePath(n)
	profiles, _, err := h.profiles(true)
	if err != nil {
		return "", homeFault("open", filepath.Join(h.path, profilesDir), err)
	}
	defer profiles.root.Close()
	if _, err := profiles.root.Lstat(string(n)); err == nil {
		return path, h.complete(profiles, n)
	}
	staging := "." + string(n) + stagingMark + randomSuffix()
	if err := profiles.mkdir(staging); err != nil {
		return "", err
	}
	err = profiles.fill(staging, n)
	if err == nil {
		err = profiles.moveNew(staging, profiles, string(n))
	}
	if err == nil {
		err = profiles.sync()
	}
	if err != nil {
		_ = profiles.root.RemoveAll(staging)
		if errors.Is(err, fs.ErrExist) {
			return "", exists(n)
		}
		return "", homeFault("create profile", path, err)
	}
	return path, nil
}

func (d dir) fill(staging string, n profile.Name) error {
	made, _, err := d.sub(staging)
	if err != nil {
		return err
	}
	defer made.root.Close()
	return made.seed(n)
}

// complete seeds a directory that is no profile yet.
func (h *Home) complete(profiles dir, n profile.Name) error {
	d, _, err := profiles.sub(string(n))
	if err != nil {
		return homeFault("create profile", h.ProfilePath(n), err)
	}
	defer d.root.Close()
	marked, err := d.marked()
	switch {
	case err != nil:
		return homeFault("create profile", d.path, err)
	case marked:
		return exists(n)
	}
	return d.seed(n)
}

func exists(n profile.Name) error {
	return fault.New(fault.ProfileExists, "profile '%s' exists already", n).
		WithHint("hermes -p %s gateway start", n)
}

func checkNew(n profile.Name) error {
	if _, err := profile.ParseNew(string(n)); err != nil {
		return &fault.Error{Code: fault.InvalidName, Msg: err.Error(), Err: err}
	}
	return nil
}

// EnsureDefault gives the default profile the files of a new one where they
// are missing. It reports whether the profile was new: without SOUL.md.
func (h *Home) EnsureDefault() (created bool, err error) {
	if err := h.writable(); err != nil {
		return false, err
	}
	marked, err := h.dir.marked()
	if err != nil {
		return false, homeFault("examine", filepath.Join(h.path, soulFile), err)
	}
	return !marked, h.dir.seed(profile.Default)
}

// apiKeyVariable is the variable that holds the key of the profile's API.
const apiKeyVariable = "API_SERVER_KEY"

// EnsureAPIKey adds a random API_SERVER_KEY to a .env that has none, and
// reports whether it did. A .env that is a link or no valid .env is an error:
// it is not ours to replace.
func (p *Profile) EnsureAPIKey() (added bool, err error) {
	if err := p.writable(); err != nil {
		return false, err
	}
	data, err := p.file(dotenvFile, config.MaxDotenvSize)
	if err != nil {
		return false, err
	}
	env, err := config.ParseDotenv(p.at(dotenvFile), data)
	if err != nil || env[apiKeyVariable] != "" {
		return false, err
	}
	if info, err := p.dir.root.Lstat(dotenvFile); err == nil && !info.Mode().IsRegular() {
		return false, fault.New(fault.Unreadable, "cannot write %s: it is %s", p.at(dotenvFile), kindOf(info.Mode())).
			WithHint("add a line %s=… to the file it leads to", apiKeyVariable)
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(data, '\n')
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: crypto/rand
	data = append(data, apiKeyVariable+"="+hex.EncodeToString(key)+"\n"...)
	return true, p.dir.write(dotenvFile, data, 0o600, true)
}

// DeleteProfile removes a profile. It is gone in one step; then its files are
// removed, without following links. An error after that step, about files that
// could not be removed, has the code home_unusable and names where they are.
func (h *Home) DeleteProfile(n profile.Name) error {
	if err := h.writable(); err != nil {
		return err
	}
	if n == profile.Default {
		return fault.New(fault.InvalidName, "cannot delete profile 'default': it is the home %s itself", h.path).
			WithHint("hermes gateway stop")
	}
	p, err := h.openProfile(n)
	if err != nil {
		return err
	}
	_ = p.Close()
	profiles, _, err := h.profiles(false)
	if err != nil {
		return homeFault("open", filepath.Join(h.path, profilesDir), err)
	}
	defer profiles.root.Close()
	deleted := deletedPrefix + string(n) + "-" + randomSuffix()
	if err := profiles.moveNew(string(n), profiles, deleted); err != nil {
		return homeFault("delete profile", h.ProfilePath(n), err)
	}
	if err := profiles.sync(); err != nil {
		return homeFault("delete profile", h.ProfilePath(n), err)
	}
	if err := profiles.root.RemoveAll(deleted); err != nil {
		return homeFault("remove what is left of profile '"+string(n)+"' in", filepath.Join(profiles.path, deleted), err)
	}
	return nil
}

// RenameProfile renames a profile's directory, and with it everything that is
// known of the profile. A name that is taken is a profile_exists fault.
func (h *Home) RenameProfile(from, to profile.Name) error {
	if err := h.writable(); err != nil {
		return err
	}
	if from == profile.Default {
		return fault.New(fault.InvalidName, "cannot rename profile 'default': it is the home %s itself", h.path).
			WithHint("hermes profile create %s", to)
	}
	if err := checkNew(to); err != nil {
		return err
	}
	p, err := h.Profile(from)
	if err != nil {
		return err
	}
	_ = p.Close()
	profiles, _, err := h.profiles(false)
	if err != nil {
		return homeFault("open", filepath.Join(h.path, profilesDir), err)
	}
	defer profiles.root.Close()
	err = profiles.moveNew(string(from), profiles, string(to))
	if err == nil {
		err = profiles.sync()
	}
	if errors.Is(err, fs.ErrExist) {
		return exists(to)
	}
	if err != nil {
		return homeFault("rename profile", h.ProfilePath(from), err)
	}
	return nil
}

// RemoveLeftovers removes what creations and deletions that were killed left
// in profiles/, once it is an hour old.
func (h *Home) RemoveLeftovers() error {
	if err := h.writable(); err != nil {
		return err
	}
	profiles, _, err := h.profiles(false)
	if err != nil {
		return nil // Scan reports what there is to say
	}
	defer profiles.root.Close()
	names, err := profiles.names()
	if err != nil {
		return homeFault("list", profiles.path, err)
	}
	var errs []error
	for _, name := range names {
		info, err := profiles.root.Lstat(name)
		if err != nil || !isStaging(name) || time.Since(info.ModTime()) < time.Hour {
			continue
		}
		if err := profiles.root.RemoveAll(name); err != nil {
			errs = append(errs, homeFault("remove", filepath.Join(profiles.path, name), err))
		}
	}
	return errors.Join(errs...)
}
