package dashboard

import (
	"net/http"
	"testing"

	"hermes/api"
)

func TestProfilePage(t *testing.T) {
	e := three()
	e.cfg = api.Config{Title: "<script>alert(1)</script>", Settings: []api.Setting{{Name: "port", Value: "9300", From: "gateway.port"}}}
	status, page := get(t, start(t, e, nil), "/profile/coder")
	if status != http.StatusOK {
		t.Fatalf("status %d:\n%s", status, page)
	}
	mustContain(t, "the page", page, `data-profile="coder"`, "&lt;script&gt;alert", "nothing: it runs as wanted", "Z one")
}
