package supervisor

import (
	"strings"

	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/reconcile"
	"hermes/internal/store"
)

func (f *Fleet) writeIntent(name profile.Name, rec profile.IntentRecord) error {
	p, err := f.home.Profile(name)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.WriteIntent(rec)
}

func (f *Fleet) writeSupervision(name profile.Name, rec profile.Supervision) error {
	p, err := f.home.Profile(name)
	if err != nil {
		return err
	}
	defer p.Close()
	return p.WriteSupervision(rec)
}

func (f *Fleet) legacy(name profile.Name) (store.Legacy, bool) {
	p, err := f.home.Profile(name)
	if err != nil {
		return store.Legacy{}, false
	}
	defer p.Close()
	legacy, state, _ := p.Legacy()
	return legacy, state == store.Valid
}

// removeStale removes what a gateway that is gone left in the profile.
func (f *Fleet) removeStale(name profile.Name) {
	p, err := f.home.Profile(name)
	if err != nil {
		return
	}
	defer p.Close()
	removed, err := p.RemoveStale()
	if err != nil {
		f.log.Warn("stale files not removed", "profile", string(name), "error", err)
	}
	if len(removed) > 0 {
		f.log.Info("stale files removed", "profile", string(name), "files", strings.Join(removed, " "))
	}
}

// readSetup is what the configuration says of a gateway that is not started
// now; one that cannot be read is reported when it is.
func (f *Fleet) readSetup(name profile.Name) setup {
	p, err := f.home.Profile(name)
	if err != nil {
		return f.defaults()
	}
	defer p.Close()
	file, err := p.Config()
	if err != nil {
		return f.defaults()
	}
	builtIn := len(file.Gateway.Command) == 0 && len(f.options.Settings.GatewayCommand) == 0
	return f.setupOf(file.Gateway, builtIn)
}

// openLog opens the log of a gateway; it counts what it cannot write. fresh
// says that no run from before goes on.
func (f *Fleet) openLog(name profile.Name, fresh bool) *logfile.Log {
	o := logfile.Options{
		Dir: f.logDir(name), Home: f.home.Path(), Profile: string(name), Tee: f.options.Tee, Fresh: fresh,
	}
	if c := f.options.Credential; c != nil {
		o.Owner = &logfile.Owner{UID: int(c.UID), GID: int(c.GID)}
	}
	if p, err := f.home.Profile(name); err == nil {
		if file, err := p.Config(); err == nil {
			o.MaxSize, o.MaxFiles = file.Gateway.Logs.MaxSize, file.Gateway.Logs.MaxFiles
		}
		p.Close()
	}
	log, err := logfile.Open(o)
	if err != nil {
		f.log.Warn("log not opened", "profile", string(name), "error", err)
		f.notices.set("log_unwritten", err)
	}
	return log
}

// observeProfile reads what boot needs to know of a profile.
func observeProfile(home *store.Home, e store.Entry) reconcile.Profile {
	out := reconcile.Profile{Name: e.Name, ID: reconcile.ID(e.ID)}
	p, err := home.Profile(e.Name)
	if err != nil {
		out.IntentFile, out.FileProblem = reconcile.Unreadable, err.Error()
		return out
	}
	defer p.Close()
	note := func(err error) {
		if err != nil && out.FileProblem == "" {
			out.FileProblem = err.Error()
		}
	}
	var state store.FileState
	out.Intent, state, err = p.Intent()
	out.IntentFile = fileState(state)
	note(err)
	out.Last, state, err = p.Supervision()
	out.LastFile = fileState(state)
	note(err)
	legacy, state, err := p.Legacy()
	out.LegacyFile = fileState(state)
	out.Legacy = reconcile.Legacy{Desired: legacy.DesiredState, Observed: legacy.GatewayState}
	note(err)
	return out
}

func fileState(s store.FileState) reconcile.FileState {
	switch s {
	case store.Valid:
		return reconcile.Valid
	case store.Corrupt:
		return reconcile.Corrupt
	case store.Unreadable:
		return reconcile.Unreadable
	default:
		return reconcile.Absent
	}
}
