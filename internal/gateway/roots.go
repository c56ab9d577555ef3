package gateway

import (
	"crypto/x509"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// roots are the certificate roots to use beside what x509.SystemCertPool
// returned: nil stands for the system's, ours are for a system that has none,
// such as an image from nothing. They are parsed here, by the one role that
// speaks TLS, and not when the binary is loaded: that would cost every command
// 2 ms, and keeper and engine the memory.
func roots(system *x509.CertPool, err error) *x509.CertPool {
	own := x509.NewCertPool()
	if err == nil && !system.Equal(own) {
		return nil
	}
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		switch {
		case err != nil: // a kind that this Go does not know: one root less
		case root.Constraint == nil:
			own.AddCert(cert)
		default:
			own.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	return own
}
