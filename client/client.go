// Package client is the Go client of Loggerhead's REST API. Its types are the API's; see /api/docs on any hub.
//
//	c, err := client.New("https://hub.example.org:8443", client.Options{})
//	err = c.LogIn(ctx, "ana@example.org", password)
//	projects, err := c.Projects(ctx)
//
// All times are UTC milliseconds since 1970-01-01. Errors of the hub are [*Error]. A Client is safe for concurrent use
// once it is logged in.
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options are what a client may be given.
type Options struct {
	// Roots are the certificates that are believed beside the system's; the hub's root.pem, unless it has a public
	// certificate.
	Roots *x509.CertPool
	// Token is of an earlier log-in.
	Token string
	// Timeout bounds each request but streams; 0 is a minute.
	Timeout time.Duration
}

// Client speaks to one hub.
type Client struct {
	base  *url.URL
	http  *http.Client
	token string
	limit time.Duration
}

// maxAnswer bounds an answer held in memory.
const maxAnswer = 64 << 20

// New returns a client of the hub at base, e.g. https://hub.example.org:8443. Only https is possible, in TLS 1.3.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("hub address %q is no https:// address", base)
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: o.Roots}
	// A hub never redirects. Following somebody who does would carry the token elsewhere, in plaintext even.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: u, http: &http.Client{Transport: t, CheckRedirect: stay}, token: o.Token, limit: o.Timeout}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Token returns the session's token; "" before a log-in.
func (c *Client) Token() string { return c.token }

// Error is a problem the hub told.
type Error struct {
	Status int    `json:"status"`
	Code   string `json:"code"` // e.g. "not_found"; /api/docs/errors explains each
	Detail string `json:"detail"`
	// Errors are the things that are wrong with a request, by row where many things are made at once.
	Errors []RowError `json:"errors"`
}

func (e *Error) Error() string { return e.Detail }

// open sends a request and returns the answer, whose body the caller closes. Statuses of 300 and above are errors.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	if body == nil {
		return c.send(ctx, method, path, query, "", nil)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return c.send(ctx, method, path, query, "application/json", bytes.NewReader(b))
}

// send is open with a body as it is.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, contentType string, body io.Reader) (*http.Response, error) {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode, Detail: resp.Status}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err == nil && strings.HasSuffix(kind, "json") {
		json.Unmarshal(b, e) // what does not parse leaves the status
	}
	return nil, e
}

// decode reads an answer.
func decode(resp *http.Response, out any) error {
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out)
}

// call sends a request and decodes the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	resp, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return err
	}
	return decode(resp, out)
}

// items reads a list to its end, page by page.
func items[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("limit", "1000")
	var all []T
	for {
		var out struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if err := c.call(ctx, "GET", path, query, nil, &out); err != nil {
			return nil, err
		}
		all = append(all, out.Items...)
		if out.Next == "" {
			return all, nil
		}
		// Only where it goes on is the hub's to say, not where to.
		next, err := url.Parse(out.Next)
		if err != nil || next.Query().Get("cursor") == query.Get("cursor") {
			return nil, fmt.Errorf("the hub's list goes on at %q, which leads nowhere", out.Next)
		}
		query.Set("cursor", next.Query().Get("cursor"))
	}
}

// whole reads a list that has no pages.
func whole[T any](ctx context.Context, c *Client, path string, query url.Values) ([]T, error) {
	var out struct {
		Items []T `json:"items"`
	}
	err := c.call(ctx, "GET", path, query, nil, &out)
	return out.Items, err
}

// User is a person.
type User struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Name     string `json:"name"`
	Operator bool   `json:"operator"`
}

// LogIn starts a session and keeps its token.
func (c *Client) LogIn(ctx context.Context, email, password string) (User, error) {
	var out struct {
		User  User   `json:"user"`
		Token string `json:"token"`
	}
	err := c.call(ctx, "POST", "/api/v1/session", nil, map[string]string{"email": email, "password": password}, &out)
	if err == nil {
		c.token = out.Token
	}
	return out.User, err
}

// LogOut ends the session.
func (c *Client) LogOut(ctx context.Context) error {
	err := c.call(ctx, "DELETE", "/api/v1/session", nil, nil, nil)
	c.token = ""
	return err
}

func projectPath(project string, more ...string) string {
	p := "/api/v1/projects/" + url.PathEscape(project)
	for _, m := range more {
		p += "/" + url.PathEscape(m)
	}
	return p
}

// Latest is the newest sample of an element.
type Latest struct {
	ElementID string  `json:"element_id"`
	Time      int64   `json:"time"`
	Value     float64 `json:"value"`
	Flag      int     `json:"flag"`
	Received  int64   `json:"received"`
}

// Latest returns the newest sample of each element of a project.
func (c *Client) Latest(ctx context.Context, project string) ([]Latest, error) {
	return whole[Latest](ctx, c, projectPath(project, "latest"), nil)
}

// Series is one element's part of an answer: arrays of one length.
type Series struct {
	ElementID string     `json:"element_id"`
	Reduced   bool       `json:"reduced"`
	Count     int64      `json:"count"`
	Times     []int64    `json:"times"`
	Values    []float64  `json:"values"`
	Flags     []int      `json:"flags"`
	Gaps      [][2]int64 `json:"gaps"`
}

// Series returns series from (included) to (excluded), raw with points 0, else reduced to at most that many points
// each.
func (c *Client) Series(ctx context.Context, project string, elements []string, from, to int64, points int) ([]Series, error) {
	var out struct {
		Series []Series `json:"series"`
	}
	err := c.call(ctx, "GET", projectPath(project, "series"), seriesQuery(elements, from, to, points, "json"), nil, &out)
	return out.Series, err
}

func seriesQuery(elements []string, from, to int64, points int, format string) url.Values {
	return url.Values{"elements": {strings.Join(elements, ",")}, "from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(to, 10)},
		"points": {strconv.Itoa(points)}, "format": {format}}
}

// Sample is one sample of an export.
type Sample struct {
	ElementID string
	Time      int64
	Value     float64
	Flag      int
}

// Export streams every sample of the elements from (included) to (excluded), element by element, ascending. It has no
// bound; a stream that breaks off ends with an error.
func (c *Client) Export(ctx context.Context, project string, elements []string, from, to int64) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		resp, err := c.open(ctx, "GET", projectPath(project, "series"), seriesQuery(elements, from, to, 0, "csv"), nil)
		if err != nil {
			yield(Sample{}, err)
			return
		}
		defer resp.Body.Close()
		r := csv.NewReader(bufio.NewReaderSize(resp.Body, 64<<10))
		r.ReuseRecord, r.FieldsPerRecord = true, 4
		for first := true; ; first = false {
			rec, err := r.Read()
			if errors.Is(err, io.EOF) && !first {
				return
			}
			if first {
				if err == nil && strings.Join(rec, ",") == exportHead {
					continue
				}
				yield(Sample{}, fmt.Errorf("what the hub sends is no export: %w", errors.Join(err, errHead)))
				return
			}
			var s Sample
			if err == nil {
				s, err = parseSample(rec)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

// exportHead is the first line of an export.
const exportHead = "time,element_id,value,flag"

var errHead = errors.New("it does not begin with " + exportHead)

func parseSample(rec []string) (Sample, error) {
	t, err := time.Parse(time.RFC3339Nano, rec[0])
	if err != nil {
		return Sample{}, err
	}
	v, err := strconv.ParseFloat(rec[2], 64)
	if err != nil {
		return Sample{}, err
	}
	f, err := strconv.Atoi(rec[3])
	return Sample{ElementID: rec[1], Time: t.UnixMilli(), Value: v, Flag: f}, err
}
