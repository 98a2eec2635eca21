package control

import "net/http"

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {}
