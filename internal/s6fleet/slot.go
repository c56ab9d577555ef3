package s6fleet

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/recipe"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// Files below data/ of a slot, which s6 never touches: what the applets need to
// know of it.
const (
	dataDir     = "data"
	homeFile    = "home"    // the home's path
	profileFile = "profile" // the profile's name; the dashboard's slot has none
	// restartingFile is there from the command that restarts a gateway to its
	// next start: the end between them was asked for.
	restartingFile = "restarting"
	// commandedFile is there where the container's command is `gateway run` for
	// the profile: the next boot starts it whatever is wanted.
	commandedFile = "commanded"
	// observedFile is the observation of the dashboard, which has no profile.
	observedFile = "supervision.json"

	// downFile is s6's own, beside data/: the next s6-supervise starts nothing.
	downFile = "down"
)

// NotificationFD is where every slot's run says that it is ready. What does not
// speak is ready as soon as it is executed: `run` says so in its place.
const NotificationFD = 3

// GatewaySlot is the slot of a profile's gateway, for the hermes at self.
func GatewaySlot(home string, p *store.Profile, s config.Settings, self string, down bool) s6.Spec {
	spec := slot(p.Name().Slot(), home, self, down)
	spec.Data[profileFile] = string(p.Name()) + "\n"
	spec.TimeoutKill = stopTimeout(p, s)
	return spec
}

// DashboardSlot is the slot of the dashboard.
func DashboardSlot(home string, s config.Settings, self string) s6.Spec {
	spec := slot(profile.DashboardSlot, home, self, false)
	spec.TimeoutKill = s.StopTimeout
	return spec
}

func slot(name, home, self string, down bool) s6.Spec {
	return s6.Spec{
		Slot: name, Run: self, Finish: self, LogRun: self, Down: down,
		Data:           map[string]string{homeFile: home + "\n"},
		NotificationFD: NotificationFD,
	}
}

// stopTimeout is the grace of a profile's gateway. A configuration that makes no
// sense is reported when it is started.
func stopTimeout(p *store.Profile, s config.Settings) time.Duration {
	file, err := p.Config()
	if err != nil {
		file.Gateway = config.DefaultGateway()
	}
	return recipe.SetupOf(file.Gateway, false, s).StopTimeout
}

// slotData is what a slot's files say of it.
type slotData struct {
	slot    string
	home    string
	profile profile.Name // "" for the dashboard
}

// readSlot reads the slot whose directory is dir.
func readSlot(dir string) (slotData, error) {
	d := slotData{slot: filepath.Base(dir)}
	home, err := os.ReadFile(filepath.Join(dir, dataDir, homeFile))
	if err != nil {
		return d, err
	}
	if d.home = strings.TrimSuffix(string(home), "\n"); !filepath.IsAbs(d.home) {
		return d, errors.New(filepath.Join(dir, dataDir, homeFile) + " has no absolute path")
	}
	name, err := os.ReadFile(filepath.Join(dir, dataDir, profileFile))
	if errors.Is(err, os.ErrNotExist) && d.slot == profile.DashboardSlot {
		return d, nil
	}
	if err == nil {
		d.profile, err = profile.Parse(strings.TrimSuffix(string(name), "\n"))
	}
	return d, err
}

// label is the slot's name among the lines of others, logDir its log.
func (d slotData) label() string {
	if d.profile == "" {
		return profile.DashboardSlot
	}
	return string(d.profile)
}

func (d slotData) logDir() string {
	if d.profile == "" {
		return filepath.Join(d.home, "logs", profile.DashboardSlot)
	}
	return filepath.Join(d.home, "logs", "gateways", string(d.profile))
}

// refreshTimeoutKill has s6-supervise use the grace that the configuration says
// now: it reads the file at every stop.
func refreshTimeoutKill(dir string, grace time.Duration) error {
	path := filepath.Join(dir, "timeout-kill")
	want := strconv.FormatInt(grace.Milliseconds(), 10) + "\n"
	if have, err := os.ReadFile(path); err == nil && string(have) == want {
		return nil
	}
	if err := os.WriteFile(path+".new", []byte(want), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
