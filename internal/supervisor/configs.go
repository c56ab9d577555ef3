package supervisor

import (
	"crypto/sha256"
	"sync"

	"hermes/internal/config"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// configs remembers what config.yaml of each profile says, by its text: to read
// the text costs a tenth of what parsing it does, and a boot asks at its first look and at the start.
// The zero value is ready to use, from any goroutine.
type configs struct {
	mu     sync.Mutex // guards byName
	byName map[profile.Name]parsedConfig
}

type parsedConfig struct {
	text [sha256.Size]byte // its sum
	file config.File       // shared: it is never written to
}

// of reads a profile's config.yaml as it is now.
func (c *configs) of(p *store.Profile) (config.File, error) {
	text, err := p.ConfigText()
	if err != nil {
		c.drop(p.Name())
		return config.File{}, err
	}
	sum := sha256.Sum256(text)
	c.mu.Lock()
	known, ok := c.byName[p.Name()]
	c.mu.Unlock()
	if ok && known.text == sum {
		return known.file, nil
	}
	file, err := p.ParseConfig(text)
	if err != nil {
		c.drop(p.Name())
		return config.File{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = map[profile.Name]parsedConfig{}
	}
	c.byName[p.Name()] = parsedConfig{sum, file}
	return file, nil
}

// latest is what a profile's config.yaml said when it was read last; false if it
// made no sense then, or was never read.
func (c *configs) latest(name profile.Name) (config.File, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.byName[name]
	return known.file, ok
}

// drop forgets a profile that is no more.
func (c *configs) drop(name profile.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
}
