package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// webApp serves the built web app from memory: its files by name, and index.html for every other path, which the app
// routes itself. The files hold no data; what is shown comes from the API after log-in.
type webApp struct{ files map[string]webFile }

type webFile struct {
	kind, hash  string
	plain, gzip []byte
	forever     bool // its name changes with its content
}

func newWebApp(files fs.FS) *webApp {
	app := &webApp{files: map[string]webFile{}}
	if files == nil {
		return app
	}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(p), ".") {
			return err
		}
		b, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		f := webFile{kind: mime.TypeByExtension(path.Ext(p)), hash: hex.EncodeToString(sum[:8]), plain: b,
			forever: strings.HasPrefix(p, "assets/")}
		switch path.Ext(p) { // the machine's own table may lack or bend these
		case ".js":
			f.kind = "text/javascript; charset=utf-8"
		case ".css":
			f.kind = "text/css; charset=utf-8"
		case ".html":
			f.kind = "text/html; charset=utf-8"
		case ".svg":
			f.kind = "image/svg+xml"
		case ".webmanifest":
			f.kind = "application/manifest+json"
		case ".woff2":
			f.kind = "font/woff2"
		}
		if f.kind == "" {
			f.kind = "application/octet-stream"
		}
		if strings.HasPrefix(f.kind, "text/") || f.kind == "image/svg+xml" {
			var z bytes.Buffer
			w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
			if err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
			if err := w.Close(); err != nil {
				return err
			}
			f.gzip = z.Bytes()
		}
		app.files["/"+p] = f
		return nil
	})
	if err != nil {
		panic(err) // files embedded in the program always read
	}
	return app
}

func (app *webApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		newProblem(lh.Invalid, http.StatusMethodNotAllowed, "only GET reads the web app; the API is under /api/v1").write(w)
		return
	}
	f, ok := app.files[r.URL.Path]
	if !ok && !strings.HasPrefix(r.URL.Path, "/assets/") {
		f, ok = app.files["/index.html"]
	}
	if !ok {
		newProblem(lh.NotFound, http.StatusNotFound, "there is no such page").write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	if f.forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	// Each encoding is a representation of its own, with an ETag of its own.
	body, etag := f.plain, `"`+f.hash+`"`
	if f.gzip != nil && takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		body, etag = f.gzip, `"`+f.hash+`-gzip"`
	}
	h.Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// takesGzip reports whether the asker takes gzip: it is named, and not with a weight of nothing.
func takesGzip(r *http.Request) bool {
	for given := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(given, ";")
		if strings.TrimSpace(name) != "gzip" {
			continue
		}
		q, weighed := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		v, err := strconv.ParseFloat(q, 64)
		return !weighed || err == nil && v > 0
	}
	return false
}
