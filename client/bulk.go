package client

import (
	"context"
	"io"
	"net/url"
)

// RowError is what is wrong with a row, or with one field of a request.
type RowError struct {
	Row      int    `json:"row"` // from 1; 0 where there are no rows
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location"` // field, such as body.name
}

// Bulk is what became of many things made at once.
type Bulk struct {
	Rows   int  `json:"rows"`
	DryRun bool `json:"dry_run"` // nothing was made: it would have been
	Items  []struct {
		Row int    `json:"row"`
		ID  string `json:"id"`
	} `json:"items"`
}

// CreateMany makes many "locations", "devices" or "elements" at once, all or none, from a table ("text/csv") or an array
// ("application/json"). An [*Error] has the rows that were refused in Errors.
func (c *Client) CreateMany(ctx context.Context, project, kind, contentType string, rows io.Reader, dryRun bool) (Bulk, error) {
	var out Bulk
	q := url.Values{}
	if dryRun {
		q.Set("dry_run", "true")
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	resp, err := c.send(ctx, "POST", projectPath(project, kind, "bulk"), q, contentType, rows)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, decode(resp, &out)
}
