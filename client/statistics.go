package client

import (
	"context"
	"net/url"
	"strconv"
	"strings"
)

// StatisticsQuery asks for statistics of series by calendar buckets. What is empty is the hub's choice.
type StatisticsQuery struct {
	Elements  []string
	From, To  int64    // To is excluded
	Step      string   // ISO 8601 duration of one unit, such as PT1H, P1D, P1M
	Zone      string   // in which days are cut: IANA name or fixed offset
	Functions []string // such as mean, max, p95
	AsOf      int64    // as the series stood then; 0 is now
	Raw       bool     // without corrections
}

// Statistics are one element's buckets.
type Statistics struct {
	ElementID string   `json:"element_id"`
	Zone      string   `json:"zone"`
	Buckets   []Bucket `json:"buckets"`
}

// Bucket is one bucket's statistics.
type Bucket struct {
	From       int64               `json:"from"`
	To         int64               `json:"to"`
	Expected   int64               `json:"expected"` // samples the interval lets expect; 0 is unknown
	Received   int64               `json:"received"`
	Good       int64               `json:"good"`
	Incomplete bool                `json:"incomplete"`
	Flag       int                 `json:"flag"` // the worst, by QARTOD
	Values     map[string]*float64 `json:"values"`
}

// Statistics returns statistics of series, an element at a time.
func (c *Client) Statistics(ctx context.Context, project string, q StatisticsQuery) ([]Statistics, error) {
	v := url.Values{"elements": {strings.Join(q.Elements, ",")}, "from": {strconv.FormatInt(q.From, 10)}, "to": {strconv.FormatInt(q.To, 10)}, "step": {q.Step}}
	if q.Zone != "" {
		v.Set("zone", q.Zone)
	}
	if len(q.Functions) > 0 {
		v.Set("functions", strings.Join(q.Functions, ","))
	}
	if q.AsOf != 0 {
		v.Set("as_of", strconv.FormatInt(q.AsOf, 10))
	}
	if q.Raw {
		v.Set("raw", "true")
	}
	var out struct {
		Statistics []Statistics `json:"statistics"`
	}
	err := c.call(ctx, "GET", projectPath(project, "statistics"), v, nil, &out)
	return out.Statistics, err
}
