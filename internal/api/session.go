package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// User is a person in answers.
type User struct {
	ID       lh.UserID `json:"id"`
	Email    string    `json:"email"`
	Name     string    `json:"name"`
	Operator bool      `json:"operator" doc:"Manages the installation"`
}

func userOf(u lh.User) User { return User{u.ID, u.Email, u.Name, u.Operator} }

type logInInput struct {
	Body struct {
		Email    string `json:"email" maxLength:"254" example:"ana@example.org"`
		Password string `json:"password" maxLength:"256"`
	}
}

// LogIn is the answer to a log-in: a session, or what is still needed for one.
type LogIn struct {
	User    *User       `json:"user,omitempty"`
	Token   string      `json:"token,omitempty" doc:"For Authorization: Bearer; browsers use the cookie instead"`
	Expires lh.Millis   `json:"expires,omitempty"`
	Factor  *FactorNeed `json:"factor,omitempty" doc:"Set where the account has a second factor: nothing else is set then, and finish-log-in gives the session"`
}

type logInOutput struct {
	SetCookie []string `header:"Set-Cookie"`
	Body      LogIn
}

// loggedIn is the answer to whoever has logged in, or nearly.
func loggedIn(p access.Principal, token string, err error) (*logInOutput, error) {
	if need, ok := errors.AsType[*access.FactorNeeded](err); ok {
		return &logInOutput{Body: LogIn{Factor: &FactorNeed{need.Token, need.Expires, need.TOTP, need.Codes, need.Passkey}}}, nil
	}
	if err != nil {
		return nil, err
	}
	u, c := userOf(p.User), sessionCookie(token, p.Session.Expires.Time())
	return &logInOutput{SetCookie: []string{c.String()}, Body: LogIn{User: &u, Token: token, Expires: p.Session.Expires}}, nil
}

func sessionCookie(value string, expires time.Time) http.Cookie {
	return http.Cookie{Name: cookieName, Value: value, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func logIn(a *API, ctx context.Context, in *logInInput) (*logInOutput, error) {
	r, _ := request(ctx)
	return loggedIn(a.Access.LogIn(ctx, in.Body.Email, in.Body.Password, remoteHost(r)))
}

// Session is who is asking, and where they may.
type Session struct {
	User     User           `json:"user"`
	Expires  lh.Millis      `json:"expires"`
	Proof    lh.Proof       `json:"proof" enum:"password,totp,recovery_code,passkey,oidc" doc:"How it was begun"`
	Missing  bool           `json:"factor_missing" doc:"The installation wants a second factor, and this session has none: until it does, only what sets one up is allowed"`
	Projects []SessionGrant `json:"projects" nullable:"false" doc:"Those that are not archived"`
}

// SessionGrant is the asker's role in a project.
type SessionGrant struct {
	ID   lh.ProjectID `json:"id"`
	Name string       `json:"name"`
	Role lh.Role      `json:"role"`
}

func getSession(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[Session], error) {
	missing := a.Access.FactorMissing(p) != nil
	var ps []Project
	if !missing {
		var err error
		if ps, err = a.projectsOf(ctx, p); err != nil {
			return nil, err
		}
		ps = slices.DeleteFunc(ps, func(p Project) bool { return p.Archived != 0 })
	}
	s := Session{User: userOf(p.User), Expires: p.Session.Expires, Proof: p.Session.Proof, Missing: missing, Projects: make([]SessionGrant, len(ps))}
	for i, p := range ps {
		s.Projects[i] = SessionGrant{p.ID, p.Name, p.Role}
	}
	return &one[Session]{s}, nil
}

type logOutOutput struct {
	SetCookie     http.Cookie `header:"Set-Cookie"`
	ClearSiteData string      `header:"Clear-Site-Data"`
}

func logOut(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*logOutOutput, error) {
	if err := a.Access.LogOut(ctx, p); err != nil {
		return nil, err
	}
	return &logOutOutput{SetCookie: sessionCookie("", time.Unix(1, 0)), ClearSiteData: `"cache", "storage"`}, nil
}
