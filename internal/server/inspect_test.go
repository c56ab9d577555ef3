package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"hermes/client"
	"hermes/internal/fault"
)

func TestLogs(t *testing.T) {
	type asked struct {
		lines  int
		follow bool
	}
	var got asked
	b := &backend{show: func(_ context.Context, lines int, follow bool, emit func(string) error) error {
		got = asked{lines, follow}
		return emit(`<script>"\x1b`)
	}}
	rn := serve(t, b, nil)
	for query, want := range map[string]asked{"": {50, false}, "?n=0": {0, false}, "?n=10000&follow=1": {10000, true}, "?follow=0": {50, false}} {
		status, body := rn.ask(t, "GET", "/v1/gateways/coder/logs"+query, "")
		if status != http.StatusOK || body != `{"line":"<script>\"\\x1b"}`+"\n" || got != want {
			t.Errorf("%s: %d %q, asked for %+v", query, status, body, got)
		}
	}
	for _, query := range []string{"?n=-1", "?n=10001", "?n=x", "?follow=2"} {
		if status, body := rn.ask(t, "GET", "/v1/gateways/coder/logs"+query, ""); status != http.StatusBadRequest || !strings.Contains(body, `"usage"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
}

// An error before the first line is an ordinary one, after it the last line.
func TestLogsFail(t *testing.T) {
	unread := fault.New(fault.Unreadable, "cannot read the log").WithHint("ls")
	b := &backend{show: func(_ context.Context, lines int, _ bool, emit func(string) error) error {
		for range lines {
			if err := emit("x"); err != nil {
				return err
			}
		}
		if lines == 7 {
			panic("secret")
		}
		return unread
	}}
	rn := serve(t, b, nil)
	if status, body := rn.ask(t, "GET", "/v1/gateways/coder/logs?n=0", ""); status != http.StatusConflict || !strings.Contains(body, `"hint":"ls"`) {
		t.Errorf("%d %s", status, body)
	}
	want := `{"line":"x"}` + "\n" + `{"error":{"code":"unreadable","message":"cannot read the log","hint":"ls"}}` + "\n"
	if status, body := rn.ask(t, "GET", "/v1/gateways/coder/logs?n=1", ""); status != http.StatusOK || body != want {
		t.Errorf("%d %s", status, body)
	}
	if status, body := rn.ask(t, "GET", "/v1/gateways/coder/logs?n=7", ""); status != http.StatusOK || !strings.Contains(body, `"internal"`) || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
}

// A log that is followed says that it lives, and ends when the engine leaves.
func TestLogsFollow(t *testing.T) {
	ended := make(chan error, 1)
	b := &backend{show: func(ctx context.Context, _ int, _ bool, emit func(string) error) error {
		if err := emit("one"); err != nil {
			return err
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}}
	rn := serve(t, b, nil, func(s *Server) { s.keepalive = 10 * time.Millisecond })
	resp, err := rn.client.Get("http://hermes/v1/gateways/coder/logs?follow=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	signs := len("{}\n{}\n")
	head := make([]byte, len(`{"line":"one"}`+"\n")+signs)
	if _, err := io.ReadFull(resp.Body, head); err != nil || string(head) != `{"line":"one"}`+"\n{}\n{}\n" {
		t.Fatalf("%q, %v", head, err)
	}
	rn.stop()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the end of the stream: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A client that goes away does not leave a reader of the log behind.
func TestLogsClientLeaves(t *testing.T) {
	ended := make(chan error, 1)
	b := &backend{show: func(_ context.Context, _ int, _ bool, emit func(string) error) error {
		for {
			if err := emit(strings.Repeat("x", 1000)); err != nil {
				ended <- err
				return err
			}
		}
	}}
	rn := serve(t, b, nil)
	c := client.New(rn.socket)
	enough := errors.New("enough")
	n := 0
	err := c.Log(t.Context(), "coder", client.LogQuery{Lines: 3, Follow: true}, func(string) error {
		if n++; n == 100 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || n != 100 {
		t.Errorf("%d lines, %v", n, err)
	}
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the log is read for nobody")
	}
}

// The client hears what the server says.
func TestInspectByClient(t *testing.T) {
	b := &backend{}
	rn := serve(t, b, nil)
	c := client.New(rn.socket)
	exits, err := c.Exits(t.Context(), "coder")
	if err != nil || len(exits) != 1 || *exits[0].Code != 3 {
		t.Errorf("%+v, %v", exits, err)
	}
	cfg, err := c.Config(t.Context(), "coder")
	if err != nil || cfg.Profile != "coder" {
		t.Errorf("%+v, %v", cfg, err)
	}
	var lines []string
	keep := func(line string) error { lines = append(lines, line); return nil }
	if err := c.Log(t.Context(), "coder", client.LogQuery{Lines: 2}, keep); err != nil || fmt.Sprint(lines) != "[one two]" {
		t.Errorf("%q, %v", lines, err)
	}
	for what, ask := range map[string]func() error{
		"exits":  func() error { _, err := c.Exits(t.Context(), "typo"); return err },
		"config": func() error { _, err := c.Config(t.Context(), "typo"); return err },
		"log":    func() error { return c.Log(t.Context(), "typo", client.LogQuery{}, keep) },
	} {
		if err := ask(); fault.CodeOf(err) != fault.GatewayNotRegistered {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.show = func(_ context.Context, _ int, _ bool, emit func(string) error) error {
		return errors.Join(emit("x"), fault.New(fault.Unreadable, "gone"))
	}
	if err := c.Log(t.Context(), "coder", client.LogQuery{Lines: 1}, keep); fault.CodeOf(err) != fault.Unreadable {
		t.Errorf("%v", err)
	}
}
