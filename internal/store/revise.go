package store

import (
	"bytes"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// Revision is what a profile's files are to be; nil leaves one as it is.
type Revision struct {
	Config []byte
	Dotenv []byte
}

// reviseTries is how often a revision is made anew because a file changed
// meanwhile.
const reviseTries = 5

// Revise changes config.yaml and .env: revise is called with what they hold, nil
// for a missing one, and says what they are to hold. It is called again if one
// of them changes meanwhile. Each file is replaced in one step and is on disk
// when Revise returns, .env with the mode 0600; on any error both are as they
// were. What is a link, or no regular file, is not ours to replace: the error is
// that of [Profile.CheckRevisable].
func (p *Profile) Revise(revise func(config, dotenv []byte) (Revision, error)) error {
	if err := p.writable(); err != nil {
		return err
	}
	for range reviseTries {
		settings, secrets, err := p.originals()
		if err != nil {
			return err
		}
		to, err := revise(settings.data, secrets.data)
		if err != nil {
			return err
		}
		settings.to, secrets.to = to.Config, to.Dotenv
		secrets.mode = 0o600
		if again, err := p.replace(secrets, settings); !again {
			return err
		}
	}
	return fault.New(fault.HomeUnusable, "cannot write to %s: its files change all the time", p.dir.path)
}

// CheckRevisable reports why [Profile.Revise] would fail, as far as that can be
// known before: an unreadable fault for a file that is none, a home_unusable one
// for a directory that cannot be written.
func (p *Profile) CheckRevisable() error {
	if err := unix.Faccessat(unix.AT_FDCWD, p.dir.path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return homeFault("write to", p.dir.path, err)
	}
	_, _, err := p.originals()
	return err
}

// original is a file that is to be replaced.
type original struct {
	name string
	info fs.FileInfo // nil: there is none
	mode fs.FileMode
	data []byte
	to   []byte // nil: nothing to do
	tmp  string
}

func (p *Profile) originals() (settings, secrets original, err error) {
	if settings, err = p.original(configFile, config.MaxFileSize); err != nil {
		return settings, secrets, err
	}
	secrets, err = p.original(dotenvFile, config.MaxDotenvSize)
	return settings, secrets, err
}

func (p *Profile) original(name string, limit int64) (original, error) {
	o := original{name: name, mode: 0o600}
	info, err := p.dir.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o, nil
	case err != nil:
		return o, readFault(p.at(name), err)
	case !info.Mode().IsRegular():
		return o, fault.New(fault.Unreadable, "cannot write %s: it is %s", p.at(name), kindOf(info.Mode())).
			WithHint("change the file it stands for, or replace %s by a regular file", quote(p.at(name)))
	}
	o.info, o.mode = info, info.Mode().Perm()
	o.data, err = p.file(name, limit)
	return o, err
}

// replace replaces the files that are to be replaced. With again nothing was
// done, because one of them is not what it was any more.
func (p *Profile) replace(files ...original) (again bool, err error) {
	var changed []original
	defer func() {
		for _, o := range changed {
			_ = p.dir.root.Remove(o.tmp) // there only if it was not needed
		}
	}()
	for _, o := range files {
		if o.to == nil || o.info != nil && bytes.Equal(o.to, o.data) && o.info.Mode().Perm() == o.mode {
			continue
		}
		if o.tmp, err = p.dir.temporary(o.name, o.to, o.mode, true); err != nil {
			return false, homeFault("write", p.at(o.name), err)
		}
		changed = append(changed, o)
	}
	for _, o := range files {
		if now, err := p.dir.root.Lstat(o.name); !unchanged(o.info, now, err) {
			return true, nil
		}
	}
	for i, o := range changed {
		if err := p.dir.root.Rename(o.tmp, o.name); err != nil {
			return false, errors.Join(homeFault("write", p.at(o.name), err), p.undo(changed[:i]))
		}
	}
	if err := p.dir.sync(); err != nil {
		return false, homeFault("write to", p.dir.path, err)
	}
	return false, nil
}

// undo puts files back.
func (p *Profile) undo(replaced []original) error {
	var errs []error
	for _, o := range replaced {
		if o.info == nil {
			errs = append(errs, p.dir.root.Remove(o.name))
			continue
		}
		errs = append(errs, p.dir.write(o.name, o.data, o.info.Mode().Perm(), true))
	}
	return errors.Join(errs...)
}

// unchanged says whether what was is what is now, as found with err.
func unchanged(was, now fs.FileInfo, err error) bool {
	if was == nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return err == nil && sameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
}
