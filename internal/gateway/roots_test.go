package gateway

import (
	"crypto/x509"
	"errors"
	"net/http"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// TestRoots: the system's roots are used where there are any, else all of ours.
func TestRoots(t *testing.T) {
	all := 0
	some := x509.NewCertPool()
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if all++; all == 1 {
			some.AddCert(cert)
		}
	}
	if roots(some, nil) != nil {
		t.Error("a system with roots does not use its own")
	}
	for name, got := range map[string]*x509.CertPool{
		"an empty pool": roots(x509.NewCertPool(), nil),
		"no pool":       roots(nil, errors.New("no roots")),
	} {
		if got == nil || len(got.Subjects()) != all { //nolint:staticcheck // deprecated because it leaves out a system's
			t.Errorf("%s: not all of our %d roots", name, all)
		}
	}
}

// TestTLSHasRoots: a provider behind TLS is asked with what roots says.
func TestTLSHasRoots(t *testing.T) {
	u, err := newUpstream("https://api.example.com/v1", "m", "k", "")
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	want := roots(x509.SystemCertPool())
	if got := u.client.Transport.(*http.Transport).TLSClientConfig; got == nil || !want.Equal(got.RootCAs) {
		t.Error("its roots are not used")
	}
}
