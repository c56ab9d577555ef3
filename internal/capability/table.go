package capability

// given and not are the answers of one row.
func given(how string) Answer   { return Answer{Given: true, How: how} }
func not(instead string) Answer { return Answer{How: instead} }

func row(c Capability, means string, native, s6 Answer) Row {
	return Row{Capability: c, Means: means, Answers: map[Engine]Answer{Native: native, S6: s6}}
}

// Table is what every engine gives and does not give.
func Table() []Row {
	return []Row{
		row(Register, "A profile is created, renamed and deleted while the fleet runs; its slot comes and goes with it",
			given("in memory"),
			given("a service directory, made beside and renamed into place; what it leaves behind is nothing")),
		row(Intent, "What was started or stopped by a command stays so over crashes, restarts and power cuts",
			given("`gateway_intent.json`, on disk before anything is done"),
			given("the same file; the service directory's `down` repeats it for s6-supervise")),
		row(Revive, "A gateway that crashes is started again",
			given("at once after a healthy run"),
			given("by s6-supervise, a second after the previous start")),
		row(Park, "A gateway that exits with 78 stays down with its last words as the reason until it is started",
			given("parked"),
			given("its `finish` ends with 125, and s6-supervise leaves it down")),
		row(History, "How the last 50 runs ended is kept on disk",
			given("`supervision.json`"),
			given("the same file, written by `finish`")),
		row(ReadyExec, "`ready: exec`, the default of other commands: up once the program is executed",
			given("the keeper tells"),
			given("`supervise/status` tells")),
		row(ReadyBuiltIn, "A start of the built-in gateway waits until it serves",
			given("`NOTIFY_SOCKET`"),
			given("s6's `notification-fd`")),
		row(ReadyNotify, "`ready: notify` for any command that speaks sd_notify(3)",
			given("`NOTIFY_SOCKET`"),
			not("nobody listens: taken as `exec`")),
		row(ReadyHTTP, "`ready: http:<path>`: up once its port answers 2xx",
			given("asked until it does"),
			not("nobody asks: taken as `exec`")),
		row(StartTimeout, "A gateway that is not ready in `start_timeout` has failed, and is ended and tried again",
			given("the engine ends it"),
			not("the command that waits says so; the gateway goes on starting")),
		row(Backoff, "A gateway that fails again and again is tried less and less often",
			given("250 ms, doubling to 5 min"),
			not("s6's own pace, a second from start to start, for ever; the failures are counted")),
		row(Policy, "`restart: on-failure` and `never`",
			given("the engine leaves it down"),
			given("`finish` ends with 125 then, too")),
		row(Adoption, "What supervises a gateway is killed, and the gateway lives on with no second copy",
			given("the keeper holds it, the next engine finds it"),
			not("s6-svscan starts another s6-supervise, and that another gateway beside the first; `status` names the stray and the command that ends it")),
		row(Health, "A gateway says how it is (`X_HERMES_HEALTH`, `STATUS=`)",
			given("`NOTIFY_SOCKET`"),
			not("nobody listens: what `gateway_state.json` says, else `unknown`")),
		row(Discovery, "A profile made by other means gets its slot by itself",
			given("within a second, by inotify"),
			not("at the first command that names it, and at the next boot")),
		row(Strays, "What a run left behind is ended before the next one",
			given("found by its mark, whatever it did"),
			not("left alone, and named in `status`")),
		row(Events, "`hermes events`: what happened, in order, also as a stream",
			given("kept on disk"),
			not("refused with `engine_lacks`: nobody is there to see it")),
		row(JSONLogs, "`HERMES_LOG_FORMAT=json` on the container's stdout",
			given("a line of JSON each"),
			not("s6-log writes plain lines, `[profile]` in front")),
	}
}
