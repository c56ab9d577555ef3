package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/condition"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/runtimedir"
	"hermes/internal/s6"
	"hermes/internal/store"
)

func newDoctorCmd(e *env) *cobra.Command {
	var fix, asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what does not work here as it might, and what to type",
		Long: "Look at the machine, the container's settings, the home and the fleet, and tell by name what does not work as\n" +
			"it might. It works with and without a supervisor, and changes nothing unless told to.\n\n" +
			"  ✗  has to be put right: nothing can be supervised like this\n" +
			"  !  needs attention\n" +
			"  ·  is done in another way, and needs nothing\n\n" +
			"--fix puts right what can be put right without losing anything: the owner of the known files of a container's\n" +
			"home, as every boot does, and .env files that every user may read.\n\n" +
			"Exit status: 0 nothing needs attention, 1 something does.",
		Args: takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			d, err := e.doctor(cmd.Context(), at, fix)
			if err != nil {
				return err
			}
			if asJSON {
				err = e.json(d)
			} else {
				e.printDiagnosis(d)
			}
			if err == nil && !d.OK {
				return &exitError{fault.ExitFailed}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "put right what can be put right without losing anything")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// patient is a home, and the process that supervises it, or would.
type patient struct {
	home       string
	supervisor lease.Record // zero if there is none
	supervised bool
	container  bool
	pid        int // whose limits count: the supervisor's if it can be seen
}

// patient finds out which. Without a supervisor only `init`, whose command this
// then is, knows that it would be a container's.
func (e *env) patient(home string) patient {
	p := patient{home: home, pid: os.Getpid(), container: e.isInit}
	rec, status, err := lease.Read(home)
	if err != nil || status != lease.Held {
		return p
	}
	p.supervised, p.supervisor = true, rec
	p.container = strings.HasSuffix(rec.Manager, containerSuffix)
	if sameContainer(rec) {
		p.pid = rec.PID
	}
	return p
}

// doctor examines, repairs if told to, and examines again.
func (e *env) doctor(ctx context.Context, at place, fix bool) (api.Diagnosis, error) {
	p := e.patient(at.home)
	d := api.Diagnosis{Home: at.home, Manager: managerNone, Findings: []api.Finding{}}
	before := e.examine(p)
	after := before
	if fix && slices.ContainsFunc(before, func(c condition.Condition) bool { return c.Fixable }) {
		if err := e.repair(p, before); err != nil {
			return d, err
		}
		after = e.examine(p)
	}
	for _, c := range before {
		fixed := !slices.ContainsFunc(after, func(a condition.Condition) bool { return a.Code == c.Code })
		d.Findings = append(d.Findings, api.Finding{
			Code: c.Code, Level: string(c.Level), Message: c.Message, Hint: c.Hint, Fixable: c.Fixable, Fixed: fixed,
		})
	}
	e.askSupervisor(ctx, p, &d)
	d.OK = !slices.ContainsFunc(d.Findings, func(f api.Finding) bool { return !f.Fixed && f.Level != string(condition.Note) })
	return d, nil
}

// examine looks at everything but the supervisor's own view.
func (e *env) examine(p patient) []condition.Condition {
	f := e.survey(p.home, p.pid, p.container, nil)
	home, err := store.OpenReadOnly(p.home)
	if err == nil {
		defer home.Close()
		f.Home.Exposed = home.ExposedSecrets()
		if p.supervised && p.container { // else the next boot does it, or nobody may
			f.Home.Misowned = home.Misowned(int(f.GatewayUID), int(f.GatewayGID))
		}
		if !p.supervised || p.supervisor.UID == os.Geteuid() {
			err = home.CheckWritable()
		}
	}
	dir, refused := "", []runtimedir.Attempt(nil)
	switch {
	case !p.supervised:
		dir, refused = runtimedir.Probe(p.home, e.candidates()...)
	case p.supervisor.Socket == "": // under s6 there is none
		dir = s6.ScanDir
	case p.supervisor.UID == os.Geteuid(): // who would have tried the same
		dir = filepath.Dir(p.supervisor.Socket)
		_, refused = runtimedir.Probe(p.home, e.betterThan(dir)...)
	}
	return condition.Check(e.withRuntime(withTrouble(f, err), dir, refused))
}

// repair puts right what examine found, and nothing else.
func (e *env) repair(p patient, found []condition.Condition) error {
	home, err := store.Open(p.home)
	if err != nil {
		return err
	}
	defer home.Close()
	var errs []error
	for _, c := range found {
		switch {
		case !c.Fixable:
		case c.Code == condition.FilesOfOthers:
			f := e.survey(p.home, p.pid, p.container, nil)
			_, err := home.ChownFixed(int(f.GatewayUID), int(f.GatewayGID)) // what is left is found again
			errs = append(errs, err)
		case c.Code == condition.SecretsReadable:
			errs = append(errs, home.HideSecrets())
		}
	}
	return errors.Join(errs...)
}

// askSupervisor adds what the supervisor knows of its fleet.
func (e *env) askSupervisor(ctx context.Context, p patient, d *api.Diagnosis) {
	fleet, ready, err := func() (fleet api.Fleet, ready api.Health, err error) {
		c, err := e.find(p.home)
		if err == nil {
			fleet, err = c.Fleet(ctx)
		}
		if err == nil {
			ready, err = c.Ready(ctx)
		}
		return fleet, ready, err
	}()
	if err != nil {
		level := condition.Fatal
		if client.IsNoSupervisor(err) {
			level = condition.Note
		}
		msg, hint, _ := e.explain(err)
		d.Findings = append(d.Findings, api.Finding{Code: string(codeOf(err)), Level: string(level), Message: msg, Hint: hint})
		return
	}
	d.Manager = fleet.Manager
	for _, n := range fleet.Notices {
		d.Findings = append(d.Findings, api.Finding{Code: n.Code, Level: string(condition.Warning), Message: n.Message, Hint: n.Hint})
	}
	for _, c := range ready.Conditions {
		d.Findings = append(d.Findings, api.Finding{Profile: c.Profile, Code: c.Code, Level: string(condition.Warning), Message: c.Message, Hint: c.Hint})
	}
}

func (e *env) printDiagnosis(d api.Diagnosis) {
	for _, f := range d.Findings {
		mark := "·"
		switch {
		case f.Fixed:
			e.printf("✓ fixed: %s (%s)\n", oneLine(f.Message), f.Code)
			continue
		case f.Level == string(condition.Fatal):
			mark = "✗"
		case f.Level == string(condition.Warning):
			mark = "!"
		}
		e.printf("%s %s (%s)\n", mark, lines(f.Message), f.Code)
		if f.Hint != "" {
			e.printf("hint: %s\n", e.address(f.Hint))
		}
	}
	if d.OK {
		e.printf("✓ nothing needs attention in %s\n", d.Home)
	}
}
