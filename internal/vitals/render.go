package vitals

import (
	"strconv"
	"strings"

	"hermes/api"
)

// render is the fleet in Prometheus's text format, version 0.0.4.
func render(fleet *api.Fleet) []byte {
	const perGateway = 1500 // bytes, about
	out := make([]byte, 0, perGateway*(len(fleet.Gateways)+2))
	for _, f := range families() {
		out = f.head(out)
		if f.fleet != nil {
			var labels []label
			if f.labels != nil {
				labels = f.labels(fleet)
			}
			out = appendSample(out, f.name, f.fleet(fleet), labels...)
			continue
		}
		for i := range fleet.Gateways {
			out = f.append(out, &fleet.Gateways[i])
		}
	}
	return out
}

// renderDown is all there is to say of a supervisor that does not answer.
func renderDown() []byte {
	f := up()
	return appendSample(f.head(nil), f.name, 0)
}

func (f *family) head(out []byte) []byte {
	out = append(out, "# HELP "+f.name+" "+f.help+"\n"...)
	return append(out, "# TYPE "+f.name+" "+string(f.kind)+"\n"...)
}

// append writes what there is of one gateway. A choice has a sample for each
// thing that could be, 1 for the one that is: an alert on it clears by itself,
// and a graph goes down to 0.
func (f *family) append(out []byte, g *api.Gateway) []byte {
	of := label{"profile", g.Profile}
	if f.is == nil {
		if value, ok := f.gateway(g); ok {
			out = appendSample(out, f.name, value, of)
		}
		return out
	}
	is := f.is(g)
	for _, v := range f.values {
		out = appendSample(out, f.name, truth(v == is), of, label{f.label, v})
	}
	return out
}

func appendSample(out []byte, name string, value float64, labels ...label) []byte {
	out = append(out, name...)
	sep := byte('{')
	for _, l := range labels {
		out = appendLabel(append(out, sep), l)
		sep = ','
	}
	if len(labels) > 0 {
		out = append(out, '}')
	}
	out = strconv.AppendFloat(append(out, ' '), value, 'f', -1, 64)
	return append(out, '\n')
}

// appendLabel writes a label so that no value, whatever it is, can end it: a
// version and a name come from outside.
func appendLabel(out []byte, l label) []byte {
	out = append(out, l.name...)
	out = append(out, '=', '"')
	value := strings.ToValidUTF8(l.value, "\uFFFD")
	for i := range len(value) {
		switch c := value[i]; c {
		case '\\', '"':
			out = append(out, '\\', c)
		case '\n':
			out = append(out, '\\', 'n')
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}
