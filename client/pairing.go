package client

import (
	"context"
	"net/url"
	"time"
)

// Pairing is a log-in that a person must allow in a browser.
type Pairing struct {
	Code     string `json:"code"`   // to be shown
	Secret   string `json:"secret"` // to be kept
	URL      string `json:"url"`    // where it is allowed
	Expires  int64  `json:"expires"`
	Interval int    `json:"interval"` // seconds between two tries of FinishPairing
}

// AskPairing begins to log in without a browser of one's own; name says who asks.
func (c *Client) AskPairing(ctx context.Context, name string) (Pairing, error) {
	var p Pairing
	err := c.call(ctx, "POST", "/api/v1/pairings", nil, map[string]string{"client": name}, &p)
	return p, err
}

// FinishPairing waits until somebody has allowed it, and keeps the session's token. An error of status 401: it was refused, or
// nobody allowed it in time.
func (c *Client) FinishPairing(ctx context.Context, p Pairing) (User, error) {
	for {
		var out struct {
			Pending bool   `json:"pending"`
			User    User   `json:"user"`
			Token   string `json:"token"`
		}
		err := c.call(ctx, "POST", "/api/v1/pairings/finish", nil, map[string]string{"code": p.Code, "secret": p.Secret}, &out)
		if err != nil {
			return User{}, err
		}
		if !out.Pending {
			c.token = out.Token
			return out.User, nil
		}
		select {
		case <-time.After(time.Duration(max(p.Interval, 1)) * time.Second):
		case <-ctx.Done():
			return User{}, ctx.Err()
		}
	}
}

// AllowPairing lets a program that shows this code log in as the client's person.
func (c *Client) AllowPairing(ctx context.Context, code string) error {
	return c.call(ctx, "POST", "/api/v1/pairings/"+url.PathEscape(code), nil, map[string]bool{"allow": true}, nil)
}

// Session is who the client is logged in as, and where they may.
type Session struct {
	User     User  `json:"user"`
	Expires  int64 `json:"expires"`
	Projects []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Role string `json:"role"`
	} `json:"projects"`
}

// Session tells who the client is logged in as.
func (c *Client) Session(ctx context.Context) (Session, error) {
	var s Session
	err := c.call(ctx, "GET", "/api/v1/session", nil, nil, &s)
	return s, err
}
