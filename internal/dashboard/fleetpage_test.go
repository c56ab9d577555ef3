package dashboard

import (
	"net/http"
	"testing"
)

// The first paint has everything: the parked one first, with its reason.
func TestFleetPage(t *testing.T) {
	status, page := get(t, start(t, three(), nil), "/")
	if status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, page)
	}
	mustContain(t, "the page", page, `id="gw-broken"`, "exit 78: no API key", `<b id="count-amiss">1</b>`, "native (host supervisor)")
}
