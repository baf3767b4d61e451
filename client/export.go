package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ExportRequest is what an export is asked to hold; see create-export in /api/docs. Zero fields have the hub's defaults.
type ExportRequest struct {
	Kind       string   `json:"kind,omitempty"` // "series" or "project"
	Elements   []string `json:"elements,omitempty"`
	LocationID string   `json:"location_id,omitempty"`
	From       int64    `json:"from,omitempty"`
	To         int64    `json:"to,omitempty"`
	Zone       string   `json:"zone,omitempty"`
	Format     string   `json:"format,omitempty"` // csv, ndjson, xlsx, parquet
	Layout     string   `json:"layout,omitempty"` // wide, long, consibio
	Raw        bool     `json:"raw,omitempty"`
	AsOf       int64    `json:"as_of,omitempty"`
	Step       string   `json:"step,omitempty"`
	Functions  []string `json:"functions,omitempty"`
	Flags      bool     `json:"flags,omitempty"`
}

// Export is a file the hub makes in the background.
type Export struct {
	ID       string   `json:"id"`
	State    string   `json:"state"`    // waiting, running, ready or failed
	Progress *float64 `json:"progress"` // 0 to 1; nil while it is not known
	Samples  int64    `json:"samples"`
	Expected int64    `json:"expected"`
	Size     int64    `json:"size"`
	Reason   string   `json:"reason"` // why it failed
	Name     string   `json:"name"`   // of the file
	Created  int64    `json:"created"`
	Finished int64    `json:"finished"`
	Expires  int64    `json:"expires"`
}

// CreateExport asks for an export; [Client.WaitExport] waits until it is ready.
func (c *Client) CreateExport(ctx context.Context, project string, r ExportRequest) (Export, error) {
	var e Export
	err := c.call(ctx, "POST", projectPath(project, "exports"), nil, r, &e)
	return e, err
}

// Exports lists a project's exports, newest first.
func (c *Client) Exports(ctx context.Context, project string) ([]Export, error) {
	return items[Export](ctx, c, projectPath(project, "exports"), url.Values{"limit": {"1000"}})
}

// GetExport tells how far an export is.
func (c *Client) GetExport(ctx context.Context, project, id string) (Export, error) {
	var e Export
	err := c.call(ctx, "GET", projectPath(project, "exports", id), nil, nil, &e)
	return e, err
}

// RemoveExport cancels or removes an export.
func (c *Client) RemoveExport(ctx context.Context, project, id string) error {
	return c.call(ctx, "DELETE", projectPath(project, "exports", id), nil, nil, nil)
}

// WaitExport asks how far an export is until it is ready or has failed, which is an error, and tells progress each time,
// if that is not nil.
func (c *Client) WaitExport(ctx context.Context, project, id string, progress func(Export)) (Export, error) {
	wait := 100 * time.Millisecond
	for {
		e, err := c.GetExport(ctx, project, id)
		if err != nil {
			return e, err
		}
		if progress != nil {
			progress(e)
		}
		switch e.State {
		case "ready":
			return e, nil
		case "failed":
			return e, fmt.Errorf("the export failed: %s", e.Reason)
		}
		select {
		case <-ctx.Done():
			return e, ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		}
	}
}

// downloadTries is how often a download that broke off goes on without having got anything further.
const downloadTries = 5

// ExportFile writes a ready export's file to w. Where the line breaks off it goes on from there.
func (c *Client) ExportFile(ctx context.Context, project, id string, w io.Writer) (size int64, err error) {
	var etag string
	for tries := 0; ; tries++ {
		resp, err := c.openFile(ctx, projectPath(project, "exports", id, "file"), size, etag)
		if err == nil {
			etag = resp.Header.Get("ETag")
			var n int64
			n, err = io.Copy(out{w}, resp.Body)
			resp.Body.Close() // was read to its end, or is given up
			if size += n; err == nil {
				return size, nil
			}
			if n > 0 {
				tries = 0
			}
		}
		var problem *Error
		var broken *writeError
		if errors.As(err, &problem) || errors.As(err, &broken) || ctx.Err() != nil || tries >= downloadTries {
			return size, err
		}
		select {
		case <-ctx.Done():
			return size, ctx.Err()
		case <-time.After(time.Duration(tries+1) * 200 * time.Millisecond):
		}
	}
}

// writeError is what the writer of a download says; going on does not help then.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// out marks its writer's errors.
type out struct{ w io.Writer }

func (o out) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

// openFile asks for a file from a byte on; etag is that of its beginning.
func (c *Client) openFile(ctx context.Context, path string, from int64, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", c.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		req.Header.Set("If-Range", etag)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	switch {
	case from == 0 && resp.StatusCode == http.StatusOK, from > 0 && resp.StatusCode == http.StatusPartialContent:
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		return nil, &Error{Status: resp.StatusCode, Code: "conflict", Detail: "the file changed while it was downloaded; begin again"}
	}
	e := &Error{Status: resp.StatusCode, Detail: resp.Status}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err == nil && strings.HasSuffix(kind, "json") {
		json.Unmarshal(b, e) // what does not parse leaves the status
	}
	return nil, e
}
