package supervisor_test

import (
	"context"
	"fmt"
	"testing"

	"hermes/api"
	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
)

// benchFleet is a fleet of n gateways that run.
func benchFleet(b *testing.B, n int) *rig {
	b.Helper()
	r := newRig(b, enginetest.NewFake())
	for i := range n {
		name := fmt.Sprintf("g%04d", i)
		r.profile(name)
		r.writeJSON(name, "gateway_state.json", map[string]string{"gateway_state": "running"})
	}
	return r
}

// up boots and waits until every gateway is up.
func (r *rig) up() {
	r.t.Helper()
	if err := r.open(r.fake).Boot(r.t.Context(), bootRequest()); err != nil {
		r.t.Fatal(err)
	}
	r.run()
	r.fleet.Outcomes(r.t.Context(), func(res api.ActionResult) {
		if res.Error != nil {
			r.t.Error(res.Error)
		}
	})
}

// BenchmarkBoot1000 takes over a home of the original's with a runner that
// costs nothing: what is left is what the supervisor does for each gateway.
func BenchmarkBoot1000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := benchFleet(b, 1000)
		b.StartTimer()
		r.up()
		b.StopTimer()
		r.leave()
		b.StartTimer()
	}
}

func BenchmarkStatus1000(b *testing.B) {
	r := benchFleet(b, 1000)
	r.up()
	for b.Loop() {
		if f, err := r.fleet.Fleet(context.Background()); err != nil || len(f.Gateways) != 1001 {
			b.Fatal(len(f.Gateways), err)
		}
	}
}

// BenchmarkOneMore starts a profile made by hand, in fleets of two sizes.
func BenchmarkOneMore(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := benchFleet(b, n)
			r.up()
			i := 0
			for b.Loop() {
				name := fmt.Sprintf("more%06d", i)
				i++
				r.profile(name)
				if _, err := r.fleet.Start(context.Background(), profile.Name(name), profile.Request{By: "bench"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStopAll1000 stops a fleet by command and starts it again, untimed.
func BenchmarkStopAll1000(b *testing.B) {
	r := benchFleet(b, 1000)
	r.up()
	for b.Loop() {
		err := r.fleet.All(context.Background(), "stop", profile.Request{By: "bench"}, func(res api.ActionResult) {
			if res.Error != nil {
				b.Error(res.Error)
			}
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		for i := range 1000 {
			name := profile.Name(fmt.Sprintf("g%04d", i))
			if _, err := r.fleet.Start(context.Background(), name, profile.Request{NoWait: true}); err != nil {
				b.Fatal(err)
			}
		}
		r.fleet.Outcomes(context.Background(), func(api.ActionResult) {})
		b.StartTimer()
	}
}

// BenchmarkShutdown1000 ends a fleet and writes what is known of it.
func BenchmarkShutdown1000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := benchFleet(b, 1000)
		r.up()
		b.StartTimer()
		r.fleet.Shutdown(context.Background())
		r.fleet.Leave(context.Background())
	}
}
