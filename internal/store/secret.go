package store

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// othersMode is what every user may do.
const othersMode = 0o007

// ExposedSecrets are the profiles' .env files that every user may read.
func (h *Home) ExposedSecrets() []string {
	var exposed []string
	_ = h.eachDotenv(func(path string, f *os.File, mode fs.FileMode) error {
		exposed = append(exposed, path)
		return nil
	})
	return exposed
}

// HideSecrets takes from every user what ExposedSecrets reports; owner and
// group keep what they may do.
func (h *Home) HideSecrets() error {
	if err := h.writable(); err != nil {
		return err
	}
	return h.eachDotenv(func(path string, f *os.File, mode fs.FileMode) error {
		if err := f.Chmod(mode &^ othersMode); err != nil {
			return homeFault("change the mode of", path, err)
		}
		return nil
	})
}

// eachDotenv calls do for each .env that every user may read: regular files,
// and no links, which lead to what is not the profile's.
func (h *Home) eachDotenv(do func(path string, f *os.File, mode fs.FileMode) error) error {
	scan, err := h.Scan()
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range scan.Entries {
		p, err := h.Profile(entry.Name)
		if err != nil {
			continue // reported where that profile is started
		}
		errs = append(errs, p.dotenvExposed(do))
		_ = p.Close()
	}
	return errors.Join(errs...)
}

func (p *Profile) dotenvExposed(do func(path string, f *os.File, mode fs.FileMode) error) error {
	before, err := p.dir.root.Lstat(dotenvFile)
	if err != nil || !before.Mode().IsRegular() || before.Mode().Perm()&othersMode == 0 {
		return nil // what cannot be looked at is reported where it is read
	}
	f, err := p.dir.root.OpenFile(dotenvFile, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // not even readable for us
	}
	defer f.Close()
	now, err := f.Stat()
	if err != nil || !sameFile(before, now) || statOf(now).Nlink > 1 {
		return err
	}
	return do(p.at(dotenvFile), f, now.Mode().Perm())
}
