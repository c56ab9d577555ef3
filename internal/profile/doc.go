// Package profile is the vocabulary of hermes: profiles and their names, the
// intent an operator has for one, and what is observed of its gateway.
//
// It is pure: values and their rules, no files, no clock, no goroutines. Every
// other package speaks these words, so a word means one thing everywhere.
package profile
