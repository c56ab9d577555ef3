package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hermes/internal/fault"
)

var update = flag.Bool("update", false, "write the generated documentation")

const referenceFile = "../../docs/reference/cli.md"

// TestReferenceIsFresh compares docs/reference/cli.md with the command tree;
// -update writes it.
func TestReferenceIsFresh(t *testing.T) {
	want := reference(newRootCmd(testEnv(t)))
	if *update {
		if err := os.MkdirAll("../../docs/reference", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not fresh, run `go test ./internal/cli -run TestReferenceIsFresh -update` (-want +got):\n%s", referenceFile, diff)
	}
}

// reference is the manual of every command, from the tree alone.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Command line\n\n<!-- Generated from the command tree by `go test ./internal/cli -update`. Do not edit. -->\n\n")
	fmt.Fprintf(&b, "%s\n\n", root.Long)
	b.WriteString("Results go to stdout, everything else to stderr. An error is a line `✗ …`, and where there is something to type a line\n`hint: …`.\n\n")
	b.WriteString("| exit status | meaning |\n| --- | --- |\n")
	for _, row := range exitTable() {
		fmt.Fprintf(&b, "| %d | %s |\n", row.status, row.meaning)
	}
	b.WriteString("\nFlags of every command:\n\n")
	flagTable(&b, root.PersistentFlags())
	describe(&b, root)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

type exitRow struct {
	status  int
	meaning string
}

func exitTable() []exitRow {
	return []exitRow{
		{fault.ExitOK, "it is done, or the answer is yes"},
		{fault.ExitFailed, "it failed, or the answer is no"},
		{fault.ExitUsage, "the command line is wrong"},
		{fault.ExitNotRunning, "`gateway status`: it is not running"},
		{fault.ExitNoGateway, "`gateway status`: there is no such gateway"},
		{fault.ExitConfig, "`gateway run`: the configuration is wrong"},
		{fault.ExitNotFound, "`init`: there is no such program"},
		{exitInterrupted, "interrupted"},
	}
}

func describe(b *strings.Builder, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		if !c.HasAvailableSubCommands() {
			fmt.Fprintf(b, "\n## %s\n\n```\n%s\n```\n\n%s\n", c.CommandPath(), c.UseLine(), long(c))
			if c.LocalNonPersistentFlags().HasAvailableFlags() {
				b.WriteString("\n")
				flagTable(b, c.LocalNonPersistentFlags())
			}
		}
		describe(b, c)
	}
}

func long(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning |\n| --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if kind := f.Value.Type(); kind != "bool" {
			name += " " + kind
		}
		usage := f.Usage
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, usage)
	})
}

// Every command that only reads has --json.
func TestReadsHaveJSON(t *testing.T) {
	root := newRootCmd(testEnv(t))
	for _, path := range []string{
		"status", "why", "health", "boot", "doctor", "version", "gateway status", "gateway list", "profile list", "profile show",
	} {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil || cmd.Flags().Lookup("json") == nil {
			t.Errorf("hermes %s has no --json (%v)", path, err)
		}
	}
}
