package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// watching is where the examples for operators are.
const watching = "../../docs/watching"

// fromDebian finds a program of Debian's package prometheus.
func fromDebian(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		unavailable(t, "no "+name+": apt-get install --no-install-recommends prometheus")
	}
	return path
}

// TestAlertRules: Prometheus takes the rules, and they begin and end as they
// promise.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool := fromDebian(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = watching
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rules := read(t, filepath.Join(watching, "alerts.yml"))
	tests := read(t, filepath.Join(watching, "alerts_test.yml"))
	page := read(t, filepath.Join(watching, "..", "watching.md"))
	for _, m := range regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(rules, -1) {
		fires := regexp.MustCompile(`alertname: ` + m[1] + `\n *eval_time: \S+\n *exp_alerts:\n`)
		if !fires.MatchString(tests) {
			t.Errorf("no test has %s fire", m[1])
		}
		if !strings.Contains(page, "| `"+m[1]+"` |") {
			t.Errorf("the page does not explain %s", m[1])
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// prometheus is one that scrapes a fleet twice a second and alerts at once.
type prometheus struct {
	*host
	base string
}

func newPrometheus(h *host, target string) *prometheus {
	h.t.Helper()
	program := fromDebian(h.t, "prometheus")
	dir, addr := h.t.TempDir(), freeAddr(h.t)
	rules := read(h.t, filepath.Join(watching, "alerts.yml"))
	hasty := regexp.MustCompile(`(?m)^( *for:) \w+$`).ReplaceAllString(rules, "$1 1s")
	if hasty == rules {
		h.t.Fatal("no alert waits")
	}
	config := fmt.Sprintf("global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n"+
		"rule_files: [alerts.yml]\nscrape_configs: [{job_name: hermes, static_configs: [{targets: [%q]}]}]\n", target)
	for name, content := range map[string]string{"alerts.yml": hasty, "prometheus.yml": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address="+addr)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil || h.t.Failed() {
			h.t.Logf("prometheus: %v\n%s", err, &out)
		}
	})
	p := &prometheus{h, "http://" + addr}
	h.eventually("Prometheus is ready", func() error {
		status, body, err := get(p.base+"/-/ready", "")
		if err == nil && status != 200 {
			err = errors.New(body)
		}
		return err
	})
	return p
}

// ask is a question to its API.
func (p *prometheus) ask(path string, into any) error {
	_, body, err := get(p.base+path, "")
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// finds checks that a query has a result.
func (p *prometheus) finds(expr string) error {
	var data struct{ Result []json.RawMessage }
	err := p.ask("/api/v1/query?query="+url.QueryEscape(expr), &data)
	if err == nil && len(data.Result) == 0 {
		err = errors.New("no data")
	}
	return err
}

// firing waits until exactly these profiles have the alert; "" is one about no
// profile.
func (p *prometheus) firing(alert string, want ...string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("%s fires for %q", alert, want), func() error {
		var data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
		if err := p.ask("/api/v1/alerts", &data); err != nil {
			return err
		}
		got := []string{}
		for _, a := range data.Alerts {
			if a.Labels["alertname"] == alert && a.State == "firing" {
				got = append(got, a.Labels["profile"])
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("it fires for %q", got)
		}
		return nil
	})
}

// board is what of the Grafana dashboard asks Prometheus.
type board struct {
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
	Panels []struct {
		ID         int
		Title      string
		Datasource struct{ Type, UID string }
		Targets    []struct {
			Expr       string
			Datasource struct{ Type, UID string }
		}
	}
}

// TestWatchedByPrometheus: a real one scrapes a real fleet. Every query of the
// dashboard has an answer, and the alerts begin and end with their reasons.
func TestWatchedByPrometheus(t *testing.T) {
	t.Parallel()
	h, addr := watchedHost(t)
	h.probe("anna", "-notify")
	h.probe("bert")
	h.probe("carl", "-exit", "78")
	h.probe("dora", "-exit", "1")
	h.start("anna", "bert", "carl", "dora")
	p := newPrometheus(h, addr)

	p.firing("HermesGatewayParked", "carl")
	p.firing("HermesGatewayNotAsWanted", "carl", "dora")
	p.checkBoard()
	p.firing("HermesGatewayCrashLooping", "dora")
	h.must("gateway", "stop", "dora")
	p.firing("HermesGatewayNotAsWanted", "carl")

	h.configure("carl")
	h.must("gateway", "start", "carl")
	p.firing("HermesGatewayParked")
	p.firing("HermesGatewayNotAsWanted")

	for n := range 5 {
		h.kill(h.fleet().EnginePID, syscall.SIGKILL)
		h.shows(addr, "hermes_engine_restarts_total", float64(n+1))
	}
	p.firing("HermesEngineRestarts", "")
	p.firing("HermesDown")
	h.stop()
	p.firing("HermesDown", "")
	h.start()
	p.firing("HermesDown")
	p.firing("HermesGatewayNotAsWanted")
	p.firing("HermesLogsLost")
}

// checkBoard asks what every panel and every variable of the dashboard asks.
func (p *prometheus) checkBoard() {
	p.t.Helper()
	var b board
	if err := json.Unmarshal([]byte(read(p.t, filepath.Join(watching, "grafana.json"))), &b); err != nil {
		p.t.Fatal(err)
	}
	ids, queries := map[int]bool{}, 0
	fill := strings.NewReplacer("$instance", ".*", "$profile", ".*", "$__rate_interval", "1m")
	for _, panel := range b.Panels {
		if ids[panel.ID] || panel.Title == "" || len(panel.Targets) == 0 || panel.Datasource.UID != "${datasource}" {
			p.t.Errorf("panel %d %q: %+v", panel.ID, panel.Title, panel)
		}
		ids[panel.ID] = true
		for _, target := range panel.Targets {
			queries++
			if target.Datasource != panel.Datasource {
				p.t.Errorf("%s asks %+v", panel.Title, target.Datasource)
			}
			p.eventually(panel.Title+" has data: "+target.Expr, func() error { return p.finds(fill.Replace(target.Expr)) })
		}
	}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query)
		if m == nil {
			p.t.Errorf("variable %s: %s", v.Name, v.Query)
			continue
		}
		queries++
		var values []string
		err := p.ask("/api/v1/label/"+m[2]+"/values?match[]="+url.QueryEscape(fill.Replace(m[1])), &values)
		if err != nil || len(values) == 0 {
			p.t.Errorf("variable %s: %q, %v", v.Name, values, err)
		}
	}
	if queries < 20 {
		p.t.Errorf("only %d queries were found", queries)
	}
	p.t.Logf("%d queries of %d panels", queries, len(b.Panels))
}
