package gateway

import "time"

// limits bound a request. Tests have smaller ones.
type limits struct {
	// body is how long a client may take to send its request.
	body time.Duration
	// write is how long a client may take to accept a piece of the answer.
	write time.Duration
	// keepAlive is the silence after which a stream gets a comment. Proxies cut
	// connections that are silent for 30 s to 60 s.
	keepAlive time.Duration
	// silence is how long a provider may say nothing, before its answer or in
	// it. Ten minutes is what OpenAI's own clients wait.
	silence time.Duration
	// retryWait is the pause before the first retry; it doubles.
	retryWait time.Duration
	// retryMost is the longest pause a provider may ask for; a longer one is
	// left to the client.
	retryMost time.Duration
	// chats is how many chats are answered at a time. With bodies of 10 MB it
	// bounds the memory of the process.
	chats int
}

func defaultLimits() limits {
	return limits{
		body: time.Minute, write: 30 * time.Second,
		keepAlive: 15 * time.Second, silence: 10 * time.Minute,
		retryWait: 250 * time.Millisecond, retryMost: 5 * time.Second,
		chats: 100,
	}
}
