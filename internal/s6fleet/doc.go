// Package s6fleet is a fleet under skarnet's s6: the boot that lays every slot,
// and this program as what s6-supervise starts in one.
package s6fleet
