package api

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

type askPairingInput struct {
	Body struct {
		Client string `json:"client" minLength:"1" maxLength:"100" pattern:"^[^\\p{C}]+$" doc:"What asks, for the person who decides" example:"loggerhead 1.4 on field-laptop"`
	}
}

// PairingAsked is what a program goes on with.
type PairingAsked struct {
	Code     string    `json:"code" doc:"To be shown to the person" example:"WDJB-MJHT"`
	Secret   string    `json:"secret" doc:"To be kept, and sent to finish-pairing"`
	URL      string    `json:"url" doc:"The page where the person allows it; without the hub's own address where it does not know that" example:"https://hub.example.org:8443/pair/WDJB-MJHT"`
	Expires  lh.Millis `json:"expires"`
	Interval int       `json:"interval" doc:"Seconds between two tries of finish-pairing"`
}

// pairInterval is how often a program may ask whether it was allowed, in seconds.
const pairInterval = 2

func askPairing(a *API, ctx context.Context, in *askPairingInput) (*one[PairingAsked], error) {
	r, _ := request(ctx)
	p, err := a.Access.AskPairing(ctx, in.Body.Client, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &one[PairingAsked]{PairingAsked{p.Code, p.Secret, a.URL + "/pair/" + p.Code, p.Expires, pairInterval}}, nil
}

type finishPairingInput struct {
	Body struct {
		Code   string `json:"code" maxLength:"20"`
		Secret string `json:"secret" maxLength:"100"`
	}
}

// PairingResult tells whether the program is logged in.
type PairingResult struct {
	Pending bool      `json:"pending" doc:"Nobody has answered yet; ask again after interval"`
	User    *User     `json:"user,omitempty"`
	Token   string    `json:"token,omitempty" doc:"For Authorization: Bearer. It is a session like any other: listed, and ended, on the page of the account"`
	Expires lh.Millis `json:"expires,omitempty"`
}

func finishPairing(a *API, ctx context.Context, in *finishPairingInput) (*one[PairingResult], error) {
	p, token, err := a.Access.TakePairing(ctx, in.Body.Code, in.Body.Secret)
	if lh.CodeOf(err) == lh.Unavailable {
		return &one[PairingResult]{PairingResult{Pending: true}}, nil
	}
	if err != nil {
		return nil, err
	}
	u := userOf(p.User)
	return &one[PairingResult]{PairingResult{User: &u, Token: token, Expires: p.Session.Expires}}, nil
}

// PairingCode is the part of an input that names a pairing.
type PairingCode struct {
	Code string `path:"code" maxLength:"20" doc:"As the program shows it; the dash may be left out" example:"WDJB-MJHT"`
}

// Pairing is what somebody decides on.
type Pairing struct {
	Client  string    `json:"client" doc:"What the program says it is. Anybody can say anything"`
	From    string    `json:"from" doc:"The address it asked from"`
	Created lh.Millis `json:"created"`
	Expires lh.Millis `json:"expires"`
}

func getPairing(a *API, ctx context.Context, p access.Principal, in *PairingCode) (*one[Pairing], error) {
	g, err := a.Access.Pairing(ctx, p, in.Code)
	return &one[Pairing]{Pairing{g.Client, g.Remote, g.Created, g.Expires}}, err
}

type answerPairingInput struct {
	PairingCode
	Body struct {
		Allow bool `json:"allow" doc:"Log the program in as you, or refuse it"`
	}
}

func answerPairing(a *API, ctx context.Context, p access.Principal, in *answerPairingInput) (*struct{}, error) {
	return nil, a.Access.AnswerPairing(ctx, p, in.Code, in.Body.Allow)
}
