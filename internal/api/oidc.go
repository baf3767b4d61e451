package api

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// Provider is an identity provider by which people may log in.
type Provider struct {
	Name  string `json:"name" doc:"For start-provider-log-in" example:"example"`
	Label string `json:"label" doc:"For people" example:"Example Corp."`
}

func listProviders(a *API, _ context.Context, _ *struct{}) (*list[Provider], error) {
	return listEach(a.Access.Providers(), func(p access.Provider) Provider { return Provider{p.Name, p.Label} }), nil
}

type startVisitInput struct {
	Body struct {
		Provider string `json:"provider" maxLength:"40"`
	}
}

// Visit is where to send the browser.
type Visit struct {
	URL string `json:"url" doc:"The provider's page. It sends the browser back to /sso/<provider> of this hub, which finishes the step, in the same browser and within minutes"`
}

type visitOutput struct {
	SetCookie string `header:"Set-Cookie"`
	Body      Visit
}

func (a *API) startVisit(ctx context.Context, provider string, link *access.Principal) (*visitOutput, error) {
	r, _ := request(ctx)
	v, err := a.Access.Visit(ctx, provider, link, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &visitOutput{cookieOfVisit(v.Cookie, v.Expires), Visit{v.URL}}, nil
}

func startProviderLogIn(a *API, ctx context.Context, in *startVisitInput) (*visitOutput, error) {
	return a.startVisit(ctx, in.Body.Provider, nil)
}

func startLink(a *API, ctx context.Context, p access.Principal, in *startVisitInput) (*visitOutput, error) {
	return a.startVisit(ctx, in.Body.Provider, &p)
}

type finishVisitInput struct {
	Cookie string `cookie:"__Host-loggerhead-visit" doc:"Set by the start of the step"`
	Body   struct {
		Provider string `json:"provider" maxLength:"40"`
		State    string `json:"state" maxLength:"2048" doc:"This and the rest: the query parameters with which the provider sent the browser back"`
		Code     string `json:"code,omitempty" maxLength:"2048"`
		Issuer   string `json:"iss,omitempty" maxLength:"2048"`
		Problem  string `json:"error,omitempty" maxLength:"2048"`
	}
}

func (in *finishVisitInput) back() access.Return {
	return access.Return{State: in.Body.State, Code: in.Body.Code, Issuer: in.Body.Issuer, Problem: in.Body.Problem, Cookie: in.Cookie}
}

func finishProviderLogIn(a *API, ctx context.Context, in *finishVisitInput) (*logInOutput, error) {
	r, _ := request(ctx)
	out, err := loggedIn(a.Access.LogInProvider(ctx, in.Body.Provider, in.back(), remoteHost(r)))
	if err != nil {
		return nil, err
	}
	out.SetCookie = append(out.SetCookie, cookieOfVisit("", time.Unix(1, 0)))
	return out, nil
}

type linkOutput struct {
	SetCookie string `header:"Set-Cookie"`
	Body      Identity
}

func linkIdentity(a *API, ctx context.Context, p access.Principal, in *finishVisitInput) (*linkOutput, error) {
	i, err := a.Access.Link(ctx, p, in.Body.Provider, in.back())
	if err != nil {
		return nil, err
	}
	return &linkOutput{cookieOfVisit("", time.Unix(1, 0)), a.identityOf(i)}, nil
}

// IdentityPath names a linked account of the caller.
type IdentityPath struct {
	Identity lh.IdentityID `path:"identity" maxLength:"40" example:"idn_0123456789abcdef"`
}

func unlinkIdentity(a *API, ctx context.Context, p access.Principal, in *IdentityPath) (*struct{}, error) {
	return nil, a.Access.Unlink(ctx, p, in.Identity)
}
