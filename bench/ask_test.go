package main

import "testing"

func TestAnswerBody(t *testing.T) {
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"
	for _, c := range []struct {
		answer, want string
		bad          bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}", false},
		{interim + interim + "HTTP/1.1 200 OK\r\n\r\n{\r\n\r\n}", "{\r\n\r\n}", false},
		{interim + "HTTP/1.1 404 Not Found\r\n\r\nno", "", true},
		{interim, "", true},
		{"HTTP/1.1 200 OK\r\n", "", true},
		{"\r\n\r\n", "", true},
		{"", "", true},
	} {
		if got, err := answerBody([]byte(c.answer)); string(got) != c.want || (err != nil) != c.bad {
			t.Errorf("%q: %q, %v", c.answer, got, err)
		}
	}
}
