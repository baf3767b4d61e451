package api

import (
	"context"
	"net/http"
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

// LogIn is the answer to a log-in.
type LogIn struct {
	User    User      `json:"user"`
	Token   string    `json:"token" doc:"For Authorization: Bearer; browsers use the cookie instead"`
	Expires lh.Millis `json:"expires"`
}

type logInOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      LogIn
}

func sessionCookie(value string, expires time.Time) http.Cookie {
	return http.Cookie{Name: cookieName, Value: value, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func logIn(a *API, ctx context.Context, in *logInInput) (*logInOutput, error) {
	r, _ := request(ctx)
	p, token, err := a.Access.LogIn(ctx, in.Body.Email, in.Body.Password, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &logInOutput{SetCookie: sessionCookie(token, p.Session.Expires.Time()),
		Body: LogIn{User: userOf(p.User), Token: token, Expires: p.Session.Expires}}, nil
}

// Session is who is asking, and where they may.
type Session struct {
	User     User           `json:"user"`
	Expires  lh.Millis      `json:"expires"`
	Projects []SessionGrant `json:"projects" nullable:"false"`
}

// SessionGrant is the asker's role in a project.
type SessionGrant struct {
	ID   lh.ProjectID `json:"id"`
	Name string       `json:"name"`
	Role lh.Role      `json:"role"`
}

func getSession(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[Session], error) {
	ps, err := a.projectsOf(ctx, p)
	if err != nil {
		return nil, err
	}
	s := Session{User: userOf(p.User), Expires: p.Session.Expires, Projects: make([]SessionGrant, len(ps))}
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
