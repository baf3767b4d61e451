package api

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// Installation is what somebody without an account may know.
type Installation struct {
	SignUp      string `json:"sign_up" enum:"open,invitation" doc:"open: whoever proves an e-mail address may make an account; invitation: whoever was invited"`
	Mail        bool   `json:"mail" doc:"Whether the hub sends mail. Where it does not, its operator passes links on: ask them"`
	MinPassword int    `json:"min_password" doc:"Least number of characters of a password" example:"10"`
}

func getInstallation(a *API, _ context.Context, _ *struct{}) (*one[Installation], error) {
	i := Installation{SignUp: "invitation", Mail: a.Mail, MinPassword: access.MinPassword}
	if a.Access.SignUpOpen() {
		i.SignUp = "open"
	}
	return &one[Installation]{i}, nil
}

// OnItsWay says that a mail may follow.
type OnItsWay struct {
	Detail string `json:"detail" example:"If the address can have it, a mail is on its way."`
}

func (a *API) onItsWay(text string) *one[OnItsWay] {
	if !a.Mail {
		text += " This hub sends no mail: its operator has the link, and passes it on."
	}
	return &one[OnItsWay]{OnItsWay{text}}
}

type askInput struct {
	Body struct {
		Email string `json:"email" maxLength:"254" example:"ana@example.org"`
	}
}

func askSignUp(a *API, ctx context.Context, in *askInput) (*one[OnItsWay], error) {
	r, _ := request(ctx)
	if err := a.Access.Ask(ctx, lh.LinkSignUp, in.Body.Email, remoteHost(r)); err != nil {
		return nil, err
	}
	return a.onItsWay("A mail to this address is on its way, unless one was sent just now. Its link makes the account; where there is one already, it says so."), nil
}

func askPasswordReset(a *API, ctx context.Context, in *askInput) (*one[OnItsWay], error) {
	r, _ := request(ctx)
	if err := a.Access.Ask(ctx, lh.LinkReset, in.Body.Email, remoteHost(r)); err != nil {
		return nil, err
	}
	return a.onItsWay("If there is an account with this address, a mail to it is on its way, unless one was sent just now. Its link is good for an hour."), nil
}

type linkInput struct {
	Body struct {
		Token string `json:"token" maxLength:"100" doc:"What stands behind the # of the link" example:"lhl_…"`
	}
}

// Link is what a one-time link is for.
type Link struct {
	Purpose lh.LinkPurpose `json:"purpose" enum:"sign_up,invitation,password_reset,verify_email,change_email,undo_email"`
	Email   string         `json:"email" doc:"The address that it was sent to"`
	Expires lh.Millis      `json:"expires"`
	Project bool           `json:"project" doc:"It came with an invitation to a project"`
}

func showLink(a *API, ctx context.Context, in *linkInput) (*one[Link], error) {
	r, _ := request(ctx)
	l, err := a.Access.ShowLink(ctx, in.Body.Token, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &one[Link]{Link{l.Purpose, l.Email, l.Expires, l.Invitation != ""}}, nil
}

type signUpInput struct {
	Body struct {
		Token    string `json:"token" maxLength:"100" doc:"What stands behind the # of the link"`
		Name     string `json:"name" minLength:"1" maxLength:"200" example:"Ana Andersen"`
		Password string `json:"password" maxLength:"256" doc:"At least ten characters, and none of those that everybody tries"`
	}
}

func signUp(a *API, ctx context.Context, in *signUpInput) (*one[User], error) {
	r, _ := request(ctx)
	u, err := a.Access.SignUp(ctx, in.Body.Token, in.Body.Name, in.Body.Password, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &one[User]{userOf(u)}, nil
}

type resetPasswordInput struct {
	Body struct {
		Token    string `json:"token" maxLength:"100" doc:"What stands behind the # of the link"`
		Password string `json:"password" maxLength:"256" doc:"At least ten characters, and none of those that everybody tries"`
	}
}

func resetPassword(a *API, ctx context.Context, in *resetPasswordInput) (*struct{}, error) {
	r, _ := request(ctx)
	return nil, a.Access.ResetPassword(ctx, in.Body.Token, in.Body.Password, remoteHost(r))
}

// UsedLink is what a link has done.
type UsedLink struct {
	Purpose lh.LinkPurpose `json:"purpose" enum:"verify_email,change_email,undo_email"`
}

func useLink(a *API, ctx context.Context, in *linkInput) (*one[UsedLink], error) {
	r, _ := request(ctx)
	purpose, err := a.Access.UseLink(ctx, in.Body.Token, remoteHost(r))
	if err != nil {
		return nil, err
	}
	return &one[UsedLink]{UsedLink{purpose}}, nil
}

// Account is a person's own account, or any, as an operator sees it.
type Account struct {
	User
	Created  lh.Millis `json:"created"`
	Verified lh.Millis `json:"verified" doc:"When the address was proven to be theirs; 0: it was not"`
	Disabled lh.Millis `json:"disabled" doc:"When an operator barred the account; 0: it is not barred"`
}

func accountOf(u lh.User) Account { return Account{userOf(u), u.Created, u.Verified, u.Disabled} }

func getAccount(_ *API, _ context.Context, p access.Principal, _ *struct{}) (*one[Account], error) {
	return &one[Account]{accountOf(p.User)}, nil
}

type changeAccountInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200" example:"Ana Andersen"`
	}
}

func changeAccount(a *API, ctx context.Context, p access.Principal, in *changeAccountInput) (*one[Account], error) {
	if err := a.Access.SetName(ctx, p, in.Body.Name); err != nil {
		return nil, err
	}
	p.User.Name = in.Body.Name
	return &one[Account]{accountOf(p.User)}, nil
}

type changePasswordInput struct {
	Body struct {
		Current  string `json:"current,omitempty" maxLength:"256" doc:"The password until now; not needed where the session was confirmed (confirm-session)"`
		Password string `json:"password" maxLength:"256" doc:"At least ten characters, and none of those that everybody tries"`
	}
}

func changePassword(a *API, ctx context.Context, p access.Principal, in *changePasswordInput) (*logInOutput, error) {
	token, err := a.Access.ChangePassword(ctx, p, in.Body.Current, in.Body.Password)
	return loggedIn(p, token, err)
}

type changeEmailInput struct {
	Body struct {
		Email    string `json:"email" maxLength:"254" example:"ana@example.net"`
		Password string `json:"password,omitempty" maxLength:"256" doc:"Of the account; not needed where the session was confirmed (confirm-session)"`
	}
}

func changeEmail(a *API, ctx context.Context, p access.Principal, in *changeEmailInput) (*one[OnItsWay], error) {
	if err := a.Access.AskEmail(ctx, p, in.Body.Email, in.Body.Password); err != nil {
		return nil, err
	}
	return a.onItsWay("A mail to the new address is on its way. Until its link is opened, the old one stays."), nil
}

func verifyEmail(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[OnItsWay], error) {
	if err := a.Access.AskVerification(ctx, p); err != nil {
		return nil, err
	}
	return a.onItsWay("A mail to your address is on its way."), nil
}

// LoggedIn is one of a person's sessions.
type LoggedIn struct {
	ID      lh.SessionID `json:"id"`
	Current bool         `json:"current" doc:"The one that asks"`
	Created lh.Millis    `json:"created"`
	Used    lh.Millis    `json:"used" doc:"When it was last used, to within five minutes; 0: not yet"`
	Expires lh.Millis    `json:"expires"`
	Address string       `json:"address" doc:"Where it was last used from; empty: not known" example:"192.0.2.7"`
	Agent   string       `json:"agent" doc:"With which program, as that calls itself" example:"Mozilla/5.0 (X11; Linux x86_64)"`
	Proof   lh.Proof     `json:"proof" enum:"password,totp,recovery_code,passkey,oidc" doc:"How it was begun"`
}

func listSessions(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*list[LoggedIn], error) {
	ss, err := a.Access.Sessions(ctx, p)
	if err != nil {
		return nil, err
	}
	return listEach(ss, func(s lh.Session) LoggedIn {
		l := LoggedIn{ID: s.ID, Current: s.ID == p.Session.ID, Created: s.Created, Used: s.Used, Expires: s.Expires, Agent: s.Agent, Proof: s.Proof}
		if s.Remote.IsValid() {
			l.Address = s.Remote.String()
		}
		return l
	}), nil
}

type sessionInput struct {
	Session lh.SessionID `path:"session" maxLength:"40" doc:"Session id" example:"ses_0123456789abcdef"`
}

func endSession(a *API, ctx context.Context, p access.Principal, in *sessionInput) (*struct{}, error) {
	return nil, a.Access.EndSession(ctx, p, in.Session)
}

// Ended is how many sessions have ended.
type Ended struct {
	Ended int64 `json:"ended"`
}

func endOtherSessions(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[Ended], error) {
	n, err := a.Access.EndOtherSessions(ctx, p)
	if err != nil {
		return nil, err
	}
	return &one[Ended]{Ended{n}}, nil
}

type deleteAccountInput struct {
	Body struct {
		Password string `json:"password,omitempty" maxLength:"256" doc:"Of the account; not needed where the session was confirmed (confirm-session)"`
	}
}

func deleteAccount(a *API, ctx context.Context, p access.Principal, in *deleteAccountInput) (*logOutOutput, error) {
	if err := a.Access.DeleteAccount(ctx, p, in.Body.Password); err != nil {
		return nil, err
	}
	return &logOutOutput{SetCookie: sessionCookie("", time.Unix(1, 0)), ClearSiteData: `"cache", "storage"`}, nil
}

var userSheet = sheet[lh.User]{usual: "created", id: func(u lh.User) string { return string(u.ID) }, by: map[string]func(lh.User) sortKey{
	"created": func(u lh.User) sortKey { return byNumber(u.Created) },
	"email":   func(u lh.User) sortKey { return byText(u.Email) },
	"name":    func(u lh.User) sortKey { return byText(u.Name) },
}}

type listUsersInput struct {
	Page
	Search
}

func listUsers(a *API, ctx context.Context, p access.Principal, in *listUsersInput) (*list[Account], error) {
	us, err := a.Access.Users(ctx, p)
	if err != nil {
		return nil, err
	}
	var found []lh.User
	for _, u := range us {
		if in.matches(u.Name, u.Email) {
			found = append(found, u)
		}
	}
	page, err := paged(a, ctx, in.Page, &userSheet, found)
	if err != nil {
		return nil, err
	}
	return pageEach(page, accountOf), nil
}

func inviteUser(a *API, ctx context.Context, p access.Principal, in *askInput) (*one[OnItsWay], error) {
	if err := a.Access.InviteByOperator(ctx, p, in.Body.Email); err != nil {
		return nil, err
	}
	return a.onItsWay("A mail with the link is on its way; it is good for two weeks."), nil
}

type userInput struct {
	User lh.UserID `path:"user" maxLength:"40" doc:"User id" example:"usr_0123456789abcdef"`
}

func disableUser(a *API, ctx context.Context, p access.Principal, in *userInput) (*struct{}, error) {
	return nil, a.Access.DisableUser(ctx, p, in.User, true)
}

func enableUser(a *API, ctx context.Context, p access.Principal, in *userInput) (*struct{}, error) {
	return nil, a.Access.DisableUser(ctx, p, in.User, false)
}
