package server

import (
	"context"
	"net/http"

	"hermes/api"
	"hermes/internal/profile"
)

func (s *Server) listProfiles(w *writer, r *http.Request) error {
	l, err := s.o.Profiles.List(r.Context())
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, api.ProfileList{Profiles: l})
	return nil
}

func (s *Server) createProfile(w *writer, r *http.Request) error {
	var body api.CreateRequest
	if err := s.readBody(w, r, &body); err != nil {
		return err
	}
	name, err := checked(profile.ParseNew(body.Name))
	if err != nil {
		return err
	}
	who, err := by(r, body.By)
	if err != nil {
		return err
	}
	p, err := detach(s, r, func(ctx context.Context) (api.Profile, error) {
		return s.o.Profiles.Create(ctx, name, who)
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, p)
	return nil
}

func (s *Server) deleteProfile(w *writer, r *http.Request) error {
	name, err := parseName(r.PathValue("name"))
	if err != nil {
		return err
	}
	var body api.DeleteRequest
	if err := s.readBody(w, r, &body); err != nil {
		return err
	}
	who, err := by(r, body.By)
	if err != nil {
		return err
	}
	none, err := detach(s, r, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.o.Profiles.Delete(ctx, name, who)
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, none)
	return nil
}

func (s *Server) renameProfile(w *writer, r *http.Request) error {
	from, err := parseName(r.PathValue("name"))
	if err != nil {
		return err
	}
	var body api.RenameRequest
	if err := s.readBody(w, r, &body); err != nil {
		return err
	}
	to, err := checked(profile.ParseNew(body.To))
	if err != nil {
		return err
	}
	who, err := by(r, body.By)
	if err != nil {
		return err
	}
	p, err := detach(s, r, func(ctx context.Context) (api.Profile, error) {
		return s.o.Profiles.Rename(ctx, from, to, who)
	})
	if err != nil {
		return err
	}
	s.write(w, http.StatusOK, p)
	return nil
}
