package dashboard

import (
	"cmp"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fleetData is the page of all gateways.
type fleetData struct {
	frame
	View view
	// All are all rows, for the page's script, which filters, sorts and draws.
	All []row
	// Rows are those that the view shows, at most firstRows of them.
	Rows []shownRow
	// Shown counts the rows that match the filter.
	Shown   int
	States  []choice
	Columns []column
}

// firstRows is how many rows a page has to begin with: what is seen at once. The
// script draws more when somebody comes to the end of them; a browser takes half
// a second for a thousand.
const firstRows = 100

// shownRow is a row of the page with what a clock has to say to it.
type shownRow struct {
	row
	SinceText, RetryText string
}

// More says how many rows match and are not in the page.
func (f fleetData) More() int { return f.Shown - len(f.Rows) }

// RowsHTML is the table's body.
func (f fleetData) RowsHTML() template.HTML { return rowsHTML(f.Rows) }

// Blank is the row that the page's script makes new ones of.
func (fleetData) Blank() shownRow { return shownRow{} }

// choice is one of the filter's states.
type choice struct {
	Value, Label string
	Selected     bool
}

// column is a head of the table. Sort is "" for one that cannot be sorted by.
type column struct {
	Sort, Label, Aria, Next string
}

// view is what an operator wants to see: it is the query of the page's address.
type view struct {
	Text  string // in the profile, the state or the reason
	State string // one of the states, "amiss", or "" for all
	Sort  string // a column, "" for what is not as wanted first
	Down  bool   // the largest first
}

func viewOf(r *http.Request) view {
	q := r.URL.Query()
	v := view{Text: strings.ToLower(strings.TrimSpace(q.Get("q"))), State: q.Get("state"), Sort: q.Get("sort"), Down: q.Get("dir") == "desc"}
	if !slices.ContainsFunc(sortable(), func(c column) bool { return c.Sort == v.Sort }) {
		v.Sort = ""
	}
	return v
}

// matches says whether the view shows a row. The page's script decides the same
// way.
func (v view) matches(r row) bool {
	switch {
	case v.State == "":
	case v.State == "amiss":
		if r.AsWanted() {
			return false
		}
	case v.State == "busy":
		if r.Level != levelBusy {
			return false
		}
	case v.State != r.State:
		return false
	}
	if v.Text == "" {
		return true
	}
	for _, s := range []string{r.Profile, r.State, r.Health, r.Reason} {
		if strings.Contains(strings.ToLower(s), v.Text) {
			return true
		}
	}
	return false
}

// sortable are the table's columns. The empty key is the order for a person who
// was woken up: what is not as wanted first.
func sortable() []column {
	return []column{
		{Sort: "profile", Label: "Profile"},
		{Sort: "state", Label: "State"},
		{Sort: "intent", Label: "Wanted"},
		{Sort: "since", Label: "Since"},
		{Sort: "restarts", Label: "Restarts"},
		{Sort: "retry", Label: "Next try"},
		{Sort: "port", Label: "Port"},
		{Sort: "memory", Label: "Memory"},
		{Sort: "", Label: "Reason"},
	}
}

// compare orders two rows as the view wants.
func (v view) compare(a, b row) int {
	var c int
	switch v.Sort {
	case "profile":
	case "state":
		c = cmp.Compare(a.State, b.State)
	case "intent":
		c = cmp.Compare(a.Intent, b.Intent)
	case "since":
		c = cmp.Compare(b.Since, a.Since) // the latest first
	case "restarts":
		c = cmp.Compare(a.Restarts, b.Restarts)
	case "retry":
		c = cmp.Compare(cmp.Or(a.Retry, 1<<53), cmp.Or(b.Retry, 1<<53))
	case "port":
		c = cmp.Compare(a.Port, b.Port)
	case "memory":
		c = cmp.Compare(a.Memory, b.Memory)
	default:
		c = cmp.Compare(a.Level.rank(), b.Level.rank())
	}
	c = cmp.Or(c, strings.Compare(a.Profile, b.Profile))
	if v.Down {
		return -c
	}
	return c
}

// rows are the rows that the view shows in its order, at most so many, and how
// many match.
func (v view) rows(all []row, most int, now time.Time) (rows []shownRow, shown int) {
	var match []row
	for _, r := range all {
		if v.matches(r) {
			match = append(match, r)
		}
	}
	slices.SortFunc(match, v.compare)
	for _, r := range match[:min(most, len(match))] {
		rows = append(rows, shownRow{r, ago(now, r.Since), until(now, r.Retry)})
	}
	return rows, len(match)
}

func (v view) choices() []choice {
	all := []choice{
		{Value: "", Label: "all states"},
		{Value: "amiss", Label: "not as wanted"},
		{Value: "running", Label: "running"},
		{Value: "busy", Label: "on their way"},
		{Value: "backoff", Label: "backoff"},
		{Value: "parked", Label: "parked"},
		{Value: "stopped", Label: "stopped"},
	}
	for i := range all {
		all[i].Selected = all[i].Value == v.State
	}
	return all
}

// columns are the heads of the table, each with the direction it is sorted in
// and the one a click sorts in.
func (v view) columns() []column {
	all := sortable()
	for i := range all {
		all[i].Aria, all[i].Next = "none", "asc"
		if all[i].Sort == v.Sort && v.Sort != "" {
			all[i].Aria = "ascending"
			if v.Down {
				all[i].Aria = "descending"
			} else {
				all[i].Next = "desc"
			}
		}
	}
	return all
}

func (d *Dashboard) fleetPage(w http.ResponseWriter, r *http.Request) {
	d.hub.fresh(r.Context(), time.Time{})
	f := fleetData{frame: d.frame(r, "fleet", "Fleet"), View: viewOf(r)}
	f.All, _, _ = d.hub.now()
	most := firstRows
	if r.URL.Query().Get("all") != "" {
		most = len(f.All)
	}
	f.Rows, f.Shown = f.View.rows(f.All, most, f.Now)
	f.States, f.Columns = f.View.choices(), f.View.columns()
	d.render(w, http.StatusOK, "fleet.html", f)
}
