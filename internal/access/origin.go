package access

import "net/http"

// checkOrigin refuses what a page of another origin has a browser do here. What
// changes something is refused by its method, whatever the browser; and a
// browser that says from where it asks gets nothing at all for a foreign page
// but a plain visit: no script, no picture, no frame.
func (g *Guard) checkOrigin(r *http.Request) *refusal {
	if err := g.origins.Check(r); err != nil {
		return foreignPage()
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return nil
	}
	visit := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	if visit && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return nil
	}
	return foreignPage()
}

func foreignPage() *refusal {
	return &refusal{
		status: http.StatusForbidden, code: "cross_origin",
		message: "a page of another origin asked for this",
		hint:    "open the dashboard itself and do it there",
	}
}

// setHeaders sets what holds for every answer; a handler may relax Cache-Control
// for what is no secret.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
