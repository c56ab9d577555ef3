package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"time"

	"hermes/internal/config"
)

// A session is a cookie and nothing else: what it says, and a signature that
// only who has the key can make.
//
//	base64url( version 1 | kind | expires, seconds, 8 bytes | random 16 ) "." base64url( HMAC-SHA256 )
const (
	sessionVersion = 1
	sessionPayload = 1 + 1 + 8 + 16
)

// The kinds of log-in a session stands for.
const (
	byPassword byte = 1
	byToken    byte = 2
)

// sessions signs and reads session cookies.
type sessions struct {
	key    []byte
	cookie string // its name: browsers share cookies among the ports of a host
	user   string
	ttl    time.Duration
}

// newSessions derives the key from the secret, random if there is none, and
// from the credentials: with another password all sessions end.
func newSessions(d config.Dashboard) *sessions {
	secret := []byte(d.SessionSecret.Reveal())
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	key := secret
	for _, s := range []string{"hermes session", d.Username, d.Password.Reveal(), d.PasswordHash.Reveal(), d.Token.Reveal()} {
		key = mac(key, []byte(s))
	}
	name := mac(key, []byte("cookie"))
	return &sessions{
		key: key, cookie: "hermes-" + hex.EncodeToString(name[:6]), user: d.Username, ttl: d.SessionTTL,
	}
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// seal makes the value of a new session's cookie.
func (s *sessions) seal(kind byte, now time.Time) string {
	payload := make([]byte, 0, sessionPayload)
	payload = append(payload, sessionVersion, kind)
	payload = binary.BigEndian.AppendUint64(payload, uint64(now.Add(s.ttl).Unix()))
	payload = payload[:sessionPayload]
	_, _ = rand.Read(payload[10:]) // never fails, see crypto/rand
	return encode(payload) + "." + encode(mac(s.key, payload))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// open reads a cookie's value; ok is false for one that is not ours, or over.
func (s *sessions) open(value string, now time.Time) (name string, expires time.Time, ok bool) {
	payload, signature, ok := splitSession(value)
	if !ok || !hmac.Equal(mac(s.key, payload), signature) || payload[0] != sessionVersion {
		return "", time.Time{}, false
	}
	expires = time.Unix(int64(binary.BigEndian.Uint64(payload[2:])), 0)
	if !now.Before(expires) {
		return "", time.Time{}, false
	}
	switch payload[1] {
	case byPassword:
		return s.user, expires, true
	case byToken:
		return tokenName, expires, true
	}
	return "", time.Time{}, false
}

// splitSession decodes a value of exactly the length that seal makes.
func splitSession(value string) (payload, signature []byte, ok bool) {
	strict := base64.RawURLEncoding.Strict()
	dot := base64.RawURLEncoding.EncodedLen(sessionPayload)
	if len(value) != dot+1+base64.RawURLEncoding.EncodedLen(sha256.Size) || value[dot] != '.' {
		return nil, nil, false
	}
	payload, err := strict.DecodeString(value[:dot])
	if err != nil || len(payload) != sessionPayload { // it ignores line ends
		return nil, nil, false
	}
	signature, err = strict.DecodeString(value[dot+1:])
	return payload, signature, err == nil
}

// set gives a browser a cookie; no value takes it away. A proxy that speaks TLS
// for us says so, and who lies about it only denies himself his cookie.
func (s *sessions) set(w http.ResponseWriter, r *http.Request, value string) {
	age := int(s.ttl / time.Second)
	if value == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}
