package store

import (
	"errors"
	"io/fs"

	"hermes/internal/profile"
)

// seedFile is a file a new profile starts with.
type seedFile struct {
	name    string
	content string
	mode    fs.FileMode
}

// seeds are the files of a new profile. SOUL.md comes last: it is what makes
// the directory a profile.
func seeds(n profile.Name) []seedFile {
	return []seedFile{
		{dotenvFile, dotenvSeed, 0o600},
		{configFile, configSeed, 0o600},
		{soulFile, soulSeed(n), 0o600},
	}
}

// seed writes the seeds that are missing. Anything of their name is left alone.
func (d dir) seed(n profile.Name) error {
	for _, s := range seeds(n) {
		if err := d.create(s.name, []byte(s.content), s.mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return homeFault("write", d.path+"/"+s.name, err)
		}
	}
	return nil
}

func soulSeed(n profile.Name) string {
	who := string(n)
	if n == profile.Default {
		who = "Hermes"
	}
	return `# ` + who + `

You are ` + who + `, a capable and trustworthy assistant.

- Understand what is wanted before you act; when it is unclear, ask one short question.
- Say what you know and how you know it. Say plainly when you do not know.
- Be brief. Lead with the answer; give reasons and details when they help.
- Do what you said you would, and report what you did, including what failed.
- Keep secrets. Do nothing that cannot be undone without being told to.
`
}

const dotenvSeed = `# Secrets and variables of this profile: one NAME=value per line.
# They go over the container's environment. Keep this file private (mode 0600).
`

const configSeed = `# Settings of this profile. Everything is optional; remove the # to set it.
#
# model:                          # for the built-in gateway
#   provider: openai
#   base_url: https://api.openai.com/v1
#   name: gpt-4o-mini
#   api_key_env: OPENAI_API_KEY   # a variable in .env
#
# gateway:
#   command: [my-agent, --serve]  # instead of the built-in gateway
#   env: {LOG_LEVEL: info}
#   port: auto
#   restart: always               # on-failure, never
#   ready: exec                   # notify, http:/health
#   start_timeout: 90s
#   stop_timeout: 8s
#   logs: {max_size: 1MB, max_files: 10}
`
