// Package store keeps the files of a home: which profiles there are, what
// their operators want, what was observed, and the log of boots.
//
// # Usage
//
// [Open] a home, [Home.Scan] it, open each [Home.Profile] and keep it open: it
// costs one descriptor, survives a rename of its directory, and never reaches
// outside of it.
//
// # Hostile homes
//
// When hermes is root, a home may belong to somebody who would like root to
// read or to change something. Therefore: files are opened without blocking,
// must be regular and have a size limit; links are followed only when reading
// and only as far as they stay inside the profile's directory, so that mounted
// ConfigMaps work; what is written goes to a new file of a random name and is
// renamed; owners are given to opened descriptors; a file with a second name
// that the fleet could not read itself is not read for it.
//
// # Concurrency
//
// Each file has one writer. Reads may run beside writes and see the old
// content or the new. [Home.SetOwner] comes before everything else.
//
// # Failure
//
// What a person has to act on is a [fault.Error] that names the path and a
// fix. A write that fails leaves the old content. A state file that makes no
// sense is set aside, never an obstacle.
package store
