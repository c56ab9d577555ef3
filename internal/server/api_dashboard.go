package server

import (
	"context"
	"net/http"

	"hermes/api"
)

func (s *Server) restartDashboard(w *writer, r *http.Request) error {
	req, err := s.readRequest(w, r)
	if err != nil {
		return err
	}
	d, err := detach(s, r, func(ctx context.Context) (api.Dashboard, error) {
		return s.o.Operator.RestartDashboard(ctx, req)
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, d)
	return nil
}
