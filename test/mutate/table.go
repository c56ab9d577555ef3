package main

import "slices"

// table lists the guards: the gates of `gateway run`, and what keeps down at
// boot what is not to run. Each has a test that is red without it.
func table() []mutation {
	return slices.Concat(gates(), paths(), container(), decided(), carriedOut(), files(), underS6())
}

const (
	gate        = "internal/cli/gate.go"
	inContainer = "internal/cli/foreground.go"
	initCmd     = "internal/cli/cmd_init.go"
	settings    = "internal/config/settings.go"
	launch      = "internal/launch/launch.go"
	reconcile   = "internal/reconcile/reconcile.go"
	restart     = "internal/restart/restart.go"
	boot        = "internal/supervisor/boot.go"
	resume      = "internal/supervisor/resume.go"
	facts       = "internal/census/census.go"
	state       = "internal/store/state.go"
	scan        = "internal/store/scan.go"
	s6Boot      = "internal/s6fleet/boot.go"
	s6Run       = "internal/s6fleet/applet_run.go"
	s6Finish    = "internal/s6fleet/applet_finish.go"
)

// gates are those of `gateway run`, in their order.
func gates() []mutation {
	return []mutation{
		{"gate 1: --no-supervise", gate, "runMode", "in.NoSupervise", "false", "internal/cli.TestGateNoSuperviseFlag"},
		{"gate 2: HERMES_GATEWAY_NO_SUPERVISE", gate, "runMode", "in.Settings.NoSupervise", "false", "internal/cli.TestGateNoSuperviseVariable"},
		{
			"gate 2 opens for 1, true and yes alone", settings, "FromEnviron",
			`Truthy(e.values["HERMES_GATEWAY_NO_SUPERVISE"])`, `e.values["HERMES_GATEWAY_NO_SUPERVISE"] != ""`, "internal/cli.TestNoSuperviseVariableIsStrict",
		},
		{"gate 3: the child of a supervisor", gate, "runMode", "in.isChild()", "false", "internal/cli.TestGateSupervisedChildNamesThisProfile"},
		{"gate 3 knows HERMES_SUPERVISED_CHILD", gate, "isChild", "named == string(in.Profile)", "false", "internal/cli.TestGateSupervisedChildNamesThisProfile"},
		{"gate 3 knows HERMES_S6_SUPERVISED_CHILD", gate, "isChild", "in.Settings.S6SupervisedChild", "false", "internal/cli.TestGateS6SupervisedChild"},
		{"gate 3 is for the profile named", gate, "isChild", `named != ""`, "false", "internal/cli.TestSupervisedChildOfAnotherProfileIsNoChild"},
		{"every gateway is told that it is a child", launch, "own", "EnvChild: string(in.Profile)", `"X": ""`, "internal/launch.TestChildrenKnowThatTheyAre/HERMES_SUPERVISED_CHILD"},
		{"every gateway is told so in the original's word", launch, "own", `EnvS6Child: "1"`, `"X": ""`, "internal/launch.TestChildrenKnowThatTheyAre/HERMES_S6_SUPERVISED_CHILD"},
	}
}

// paths are those behind the gates.
func paths() []mutation {
	return []mutation{
		{"the supervisor of this container redirects", gate, "runMode", "return redirected, nil", "return foreground, nil", "internal/cli.TestPathContainerSupervisorRedirects"},
		{"a host's gateway that runs is not run twice", gate, "runMode", "return refused, nil", "return foreground, nil", "internal/cli.TestPathHostSupervisorThatRunsItRefuses"},
		{"a supervisor that does not answer is not none", gate, "runMode", "err != nil", "false", "internal/cli.TestPathDetectionFails"},
		{"only a container's supervisor redirects", inContainer, "inOurContainer", "strings.HasSuffix(rec.Manager, containerSuffix)", `strings.HasSuffix(rec.Manager, "")`, "internal/cli.TestScripts/run-host-refused"},
		{"only that of this very container does", inContainer, "inOurContainer", "sameContainer(rec)", "true", "internal/cli.TestSupervisorOfAnotherContainer"},
	}
}

// container are the guards in what the container's command is taken for.
func container() []mutation {
	return []mutation{
		{
			"a plain hermes command boots nothing", initCmd, "planInit",
			"return initPlan{client: true, words: words}, nil", "return e.bootPlan(words)", "internal/cli.TestOneShotCommandsAreClients",
		},
		{"--no-supervise keeps the slot down", initCmd, "runPlan", "noSupervise || e.settings.NoSupervise", "noSupervise && false || e.settings.NoSupervise", "internal/cli.TestNoSuperviseFlagIsForegroundAtBoot"},
		{"HERMES_GATEWAY_NO_SUPERVISE keeps the slot down", initCmd, "runPlan", "noSupervise || e.settings.NoSupervise", "noSupervise", "internal/cli.TestNoSuperviseVariableIsForegroundAtBoot"},
	}
}

// decided are the guards in the table of the boot.
func decided() []mutation {
	const table = "internal/reconcile.TestBoot/"
	const started = `"draining"`
	return []mutation{
		{"an intent stopped stays down", reconcile, "Continue", "intent.Intent != profile.Running", "false", table + "intent_stopped"},
		{"parked stays parked", reconcile, "Continue", "return Park, last.Reason", "return Up, last.Reason", table + "exit_78_keeps_it_parked"},
		{"a backoff is kept", reconcile, "Continue", "return Wait, last.Reason", "return Up, last.Reason", table + "crash_loop_keeps_its_backoff"},
		{"a backoff is kept to its end", reconcile, "RetryAt", "return recorded", "return now", "internal/reconcile.TestRetryAt"},
		{"what ended by itself is left", reconcile, "Continue", "return Leave, last.Reason", "return Up, last.Reason", "internal/reconcile.TestSupervisorReturns/it_ended_by_itself_and_stays_so"},
		{"an intent wins over the original's file", reconcile, "register", "p.IntentFile == Valid", "p.IntentFile == Valid && p.LegacyFile != Valid", table + "intent_stopped_wins_over_the_original's_file"},
		{"the original: stopped", reconcile, "migrated", started, started + `, "stopped"`, table + "original:_stopped"},
		{"the original: starting", reconcile, "migrated", started, started + `, "starting"`, table + "original:_starting"},
		{"the original: startup_failed", reconcile, "migrated", started, started + `, "startup_failed"`, table + "original:_startup_failed"},
		{"the original: it says nothing", reconcile, "migrated", started, started + `, ""`, table + "original:_it_says_nothing"},
		{"the original: corrupt", reconcile, "migrated", "p.LegacyFile != Valid", "false", table + "original:_corrupt,_whatever_could_be_read"},
		{"the original: desired_state wins", reconcile, "migrated", "cmp.Or(p.Legacy.Desired, p.Legacy.Observed)", "p.Legacy.Observed", table + "original:_desired_state_wins,_downwards"},
		{"an intent that cannot be read", reconcile, "register", "p.IntentFile == Unreadable", "false", table + "intent_unreadable"},
		{"an observation that cannot be read", reconcile, "register", "p.LastFile == Unreadable", "false", table + "observation_unreadable"},
		{"the original's file that cannot be read", reconcile, "register", "p.IntentFile != Valid && p.LegacyFile == Unreadable", "false", table + "original_unreadable_and_no_intent"},
		{"what the command runs in the foreground", reconcile, "register", "commanded && command.Foreground", "commanded && command.Foreground && false", table + "the_container's_command_runs_it_in_the_foreground"},
		{"a command does not repeat itself", reconcile, "register", "!w.Live[p.Name.Slot()]", "true", "internal/reconcile.TestCommandsDoNotRepeat"},
		{"exit 78 parks", restart, "Decide", "last.Code == profile.ExitConfig", "false", "internal/supervisor.TestExit78Parks"},
	}
}

// carriedOut are the guards in what a boot does of its plan.
func carriedOut() []mutation {
	const start = "a.Resume == reconcile.Up"
	return []mutation{
		{"a boot leaves what is parked", resume, "resume", start, start + " || a.Resume == reconcile.Park", "internal/supervisor.TestParkedIsDownAtBoot"},
		{"a boot waits out a backoff", resume, "resume", start, start + " || a.Resume == reconcile.Wait", "internal/supervisor.TestBackoffIsKeptAtBoot"},
		{"a boot that is shut down starts nothing", resume, "resume", "s.wanted()", "true", "internal/supervisor.TestShutdownDuringBoot"},
		{"down for this boot is down until a command", boot, "bring", "s.outside = a.Resume == reconcile.Outside", "", "internal/supervisor.TestForegroundCommand"},
		{"no start without an intent on disk", boot, "writeIntents", "reconcile.Outside", "reconcile.Up", "internal/supervisor.TestIntentThatCannotBeWrittenIsDown"},
		{"the foreground command reaches the plan", boot, "grant", "c.Foreground && !started", "c.Foreground && !started && false", "internal/supervisor.TestForegroundCommand"},
		{"a returning supervisor repeats no command", boot, "grant", "!r.Returning || c.Foreground && !started", "!r.Returning || !started || started", "internal/supervisor.TestStoppedIsDownWhenTheSupervisorReturns"},
		{"a returning supervisor repeats no wish", boot, "grant", "if r.Returning {\n return\n}", "", "internal/supervisor.TestReturningGrantsNoWishTwice"},
	}
}

// files are the guards in what is read of a home.
func files() []mutation {
	return []mutation{
		{"what may not be read is not absent", state, "judge", "errors.Is(err, fs.ErrNotExist)", "errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)", "internal/store.TestUnreadableStateFiles"},
		{"a newer hermes's intent is not used", state, "parseIntent", "r.Version > profile.IntentVersion", "false", "internal/store.TestNewerFilesAreLeftAlone"},
		{"a newer hermes's observation is not used", state, "parseSupervision", "s.Version > profile.SupervisionVersion", "false", "internal/store.TestNewerFilesAreLeftAlone"},
		{"what cannot be read is told to the plan", facts, "ObserveOpen", "return reconcile.Unreadable", "return reconcile.Absent", "internal/supervisor.TestUnreadableIsDownForThisBoot"},
		{"a directory without SOUL.md is no profile", scan, "look", "if errors.Is(err, fs.ErrNotExist) {\n skip(Unmarked, nil)\n return\n}", "", "internal/store.TestScan"},
		{"a link is no profile", scan, "look", "info.Mode()&fs.ModeSymlink != 0", "false", "internal/store.TestScan"},
		{"a hidden directory is no profile", scan, "look", `strings.HasPrefix(name, ".")`, `strings.HasPrefix(name, "..")`, "internal/store.TestScan"},
		{"profiles/default and reserved names are no profiles", scan, "look", "n, err := profile.ParseNew(name)", "n, err := profile.Name(name), error(nil)", "internal/store.TestScan"},
	}
}

// underS6 are the guards where s6-supervise starts what a boot left up, and
// starts again what finish lets it.
func underS6() []mutation {
	const (
		up    = "a.Resume == reconcile.Up || a.Resume == reconcile.Wait"
		tests = "internal/s6fleet."
	)
	return []mutation{
		{"s6: a boot leaves what is parked", s6Boot, "isUp", up, up + " || a.Resume == reconcile.Park", tests + "TestParkedIsDownUnderS6"},
		{"s6: a boot leaves what is stopped", s6Boot, "isUp", up, up + " || a.Resume == reconcile.Down", tests + "TestStoppedIsDownUnderS6"},
		{"s6: a boot leaves what runs in the foreground", s6Boot, "isUp", up, up + " || a.Resume == reconcile.Outside", tests + "TestNoSuperviseIsDownUnderS6"},
		{"s6: down is a file in the slot", s6Boot, "lay", "!isUp(a)", "false", tests + "TestOriginalsGatewayIsDownUnderS6"},
		{"s6: parked is on record", s6Boot, "observed", "last.State = profile.StateParked", "last.State = profile.StateStopped", tests + "TestParkedIsDownUnderS6"},
		{"s6: nothing is written over what cannot be read", s6Boot, "lay", `a.Resume != reconcile.Outside || found.FileProblem == ""`, "true", tests + "TestUnreadableIsDownUnderS6"},
		{"s6: no start without an intent on disk", s6Boot, "writeIntents", "reconcile.Outside", "reconcile.Up", tests + "TestIntentThatCannotBeWrittenIsDownUnderS6"},
		{"s6: exit 78 leaves the slot down", s6Finish, "finish", "return a.stayDown(), err", "return 0, err", tests + "TestFinish/wrong_configuration"},
		{"s6: exit 78 does so where nothing can be on record", s6Finish, "unrecorded", "end.code == profile.ExitConfig", "false", tests + "TestFinishWithoutHome"},
		{"s6: what does not mend itself is exit 78", s6Run, "refusal", "return fault.ExitConfig", "return fault.ExitFailed", tests + "TestRunRefused"},
	}
}
