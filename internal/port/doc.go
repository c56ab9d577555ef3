// Package port says which TCP port a profile's gateway serves on.
//
// It is pure: it neither opens nor probes a port. Whether another program
// holds a port is found out when a gateway starts.
package port
