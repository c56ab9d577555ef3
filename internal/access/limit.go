package access

import (
	"net/netip"
	"sync"
	"time"
)

// How many attempts with wrong credentials are answered: as many at once, and
// then again as many in limitWindow.
const (
	peerLimit   = 10
	allLimit    = 100
	limitWindow = time.Minute
	// maxPeers bounds what is remembered of peers, to some 100 KB.
	maxPeers = 1024
)

// bucket is the attempts left to somebody, as they were at a time.
type bucket struct {
	left float64
	at   time.Time
}

// fill adds what has become free since.
func (b *bucket) fill(limit float64, now time.Time) {
	if since := now.Sub(b.at); since > 0 {
		b.left = min(limit, b.left+limit*float64(since)/float64(limitWindow))
	}
	b.at = now
}

// wait is how long until there is a whole attempt.
func (b *bucket) wait(limit float64) time.Duration {
	return time.Duration((1 - b.left) / limit * float64(limitWindow))
}

// limiter bounds attempts, per peer and for all.
type limiter struct {
	mu    sync.Mutex // guards what follows
	peers map[netip.Prefix]*bucket
	all   bucket
}

func newLimiter() *limiter {
	return &limiter{peers: map[netip.Prefix]*bucket{}, all: bucket{left: allLimit}}
}

// take counts an attempt of the peer; a wait above 0 refuses it.
func (l *limiter) take(peer netip.Prefix, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.peerLocked(peer, now)
	b.fill(peerLimit, now)
	l.all.fill(allLimit, now)
	switch {
	case b.left < 1:
		return b.wait(peerLimit)
	case l.all.left < 1:
		return l.all.wait(allLimit)
	}
	b.left--
	l.all.left--
	return 0
}

// giveBack is for an attempt that was none: the credentials were right.
func (l *limiter) giveBack(peer netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.left = min(allLimit, l.all.left+1)
	if b := l.peers[peer]; b != nil {
		b.left = min(peerLimit, b.left+1)
	}
}

// peerLocked is the peer's bucket. To make room for it who has tried least is
// forgotten; what a crowd of peers tries is bounded for all of them.
func (l *limiter) peerLocked(peer netip.Prefix, now time.Time) *bucket {
	if b := l.peers[peer]; b != nil {
		return b
	}
	if len(l.peers) >= maxPeers {
		l.forgetLocked(now)
	}
	b := &bucket{left: peerLimit, at: now}
	l.peers[peer] = b
	return b
}

func (l *limiter) forgetLocked(now time.Time) {
	var least netip.Prefix
	most := -1.0
	for peer, b := range l.peers {
		b.fill(peerLimit, now)
		if b.left >= peerLimit {
			delete(l.peers, peer)
		} else if b.left > most {
			least, most = peer, b.left
		}
	}
	if len(l.peers) >= maxPeers {
		delete(l.peers, least)
	}
}

// peerOf is who an address counts as: an IPv4 address, or the network that one
// customer of a provider has in IPv6.
func peerOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := at.Addr().Unmap().WithZone(""), 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // of a length that fits
	return p
}
