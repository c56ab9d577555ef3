package supervisor

// MakeBlind makes f one that inotify does not serve.
func (f *Fleet) MakeBlind() { f.blind.Store(true) }
