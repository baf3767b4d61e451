// Package web holds the built web app, so that one file is the whole hub.
package web

import (
	"embed"
	"io/fs"
)

// dist is what `npm run build` leaves. A clean clone holds only .gitkeep there: the hub then serves the API alone.
//
//go:embed all:dist
var dist embed.FS

// Files returns the built app, or nil when it was not built before the program was.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // a constant, valid path
	}
	if _, err := fs.Stat(files, "index.html"); err != nil {
		return nil
	}
	return files
}
