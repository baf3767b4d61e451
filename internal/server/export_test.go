package server

import "github.com/loggerhead-cloud/loggerhead/internal/store"

// DB is the hub's database, for tests that list devices or take it away.
func (s *Server) DB() *store.DB { return s.db }

// Check is Config's own check.
func (c *Config) Check() error { return c.check() }
