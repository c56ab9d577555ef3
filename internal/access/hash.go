package access

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// Bounds of a password's hash. Werkzeug's own, 32768:8:1, takes 32 MiB and a
// tenth of a second.
const (
	maxHashMemory = 64 << 20 // bytes: 128·N·r
	maxHashWork   = 1 << 20  // N·r·p
	minHashWork   = 1 << 10
	minKeyLen     = 16
	maxKeyLen     = 64
	maxSaltLen    = 256
	minSaltLen    = 4
)

// scryptHash is a password's hash as werkzeug.security writes it:
// scrypt:N:r:p$salt$hex.
type scryptHash struct {
	n, r, p int
	salt    []byte
	key     []byte
}

// parseHash reads a hash and refuses one that costs too much to check, or too
// little. No part of it is in the error.
func parseHash(s string) (scryptHash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 3 {
		return scryptHash{}, errors.New("it has not the form scrypt:N:r:p$salt$hash")
	}
	method := strings.Split(parts[0], ":")
	if len(method) != 4 || method[0] != "scrypt" {
		return scryptHash{}, errors.New("only hashes of the form scrypt:N:r:p$salt$hash are known")
	}
	var cost [3]int
	for i, text := range method[1:] {
		v, err := strconv.ParseUint(text, 10, 31)
		if err != nil || v == 0 {
			return scryptHash{}, errors.New("its cost (N, r and p) is not in numbers above 0")
		}
		cost[i] = int(v)
	}
	h := scryptHash{n: cost[0], r: cost[1], p: cost[2], salt: []byte(parts[1])}
	if err := h.checkCost(); err != nil {
		return scryptHash{}, err
	}
	if len(h.salt) < minSaltLen || len(h.salt) > maxSaltLen {
		return scryptHash{}, errors.New("its salt is too short or too long")
	}
	key, err := hex.DecodeString(parts[2])
	if err != nil || len(key) < minKeyLen || len(key) > maxKeyLen {
		return scryptHash{}, errors.New("what follows the salt is not a hash in hexadecimal digits")
	}
	h.key = key
	return h, nil
}

// checkCost works with quotients: the products may not fit into an int.
func (h scryptHash) checkCost() error {
	const tooMuch = "checking it would take too much: N·r·p is at most 1048576, and N·r at most 524288"
	switch {
	case h.n < 2 || h.n&(h.n-1) != 0:
		return errors.New("its N is not a power of 2")
	case h.r > maxHashMemory/128/h.n:
		return errors.New(tooMuch)
	case h.p > maxHashWork/(h.n*h.r):
		return errors.New(tooMuch)
	case h.n*h.r*h.p < minHashWork:
		return errors.New("it is no protection: N·r·p is less than 1024")
	}
	return nil
}

// sum is the hash of another password, to be compared with key.
func (h scryptHash) sum(password string) ([]byte, error) {
	return scrypt.Key([]byte(password), h.salt, h.n, h.r, h.p, len(h.key))
}
