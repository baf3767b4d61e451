// Package api is the edge to people and programs: the REST API under /api/v1 with its OpenAPI 3.1 description, live
// values as server-sent events, the page that documents it, and the web app's files. routes.go lists every operation
// with the permission it needs; whoever has no session gets 401 for all but the public ones named there.
package api
