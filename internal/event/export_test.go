package event

import "time"

// RetryNow has a file that failed tried again at the next write.
func (l *Log) RetryNow() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.retry = time.Time{}
}
