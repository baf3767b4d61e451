package client

import (
	"context"
	"net/url"
)

// Change is something that was made, changed or deleted.
type Change struct {
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	Operation string `json:"operation"` // create, change or delete
	Version   int64  `json:"version"`
	Time      int64  `json:"time"`
	ElementID string `json:"element_id"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
}

// ChangedDay is a day of a series into which samples came.
type ChangedDay struct {
	ElementID string `json:"element_id"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	Time      int64  `json:"time"`
}

// Changes is a page of the feed of changes.
type Changes struct {
	Items  []Change     `json:"items"`
	Days   []ChangedDay `json:"days"`
	Cursor string       `json:"cursor"` // for the next time
	More   bool         `json:"more"`
}

// Changes returns what was changed in a project since a cursor; "" gives a cursor alone, "start" all there is on record.
func (c *Client) Changes(ctx context.Context, project, since string) (Changes, error) {
	q := url.Values{}
	if since != "" {
		q.Set("since", since)
	}
	var out Changes
	err := c.call(ctx, "GET", projectPath(project, "changes"), q, nil, &out)
	return out, err
}
