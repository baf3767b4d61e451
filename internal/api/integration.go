package api

import (
	"context"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// IntegrationElement is one element that an integration feeds, and what it is called there.
type IntegrationElement struct {
	ElementID   lh.ElementID      `json:"element_id" maxLength:"40" doc:"Of an element that no device feeds"`
	Name        string            `json:"name,omitempty" maxLength:"200" doc:"What it is called in JSON, beside its id"`
	Measurement string            `json:"measurement,omitempty" maxLength:"200" doc:"In line protocol, with field and tags"`
	Field       string            `json:"field,omitempty" maxLength:"200"`
	Tags        map[string]string `json:"tags,omitempty" doc:"Those that a point must have; it may have others"`
}

// Integration is an integration in answers.
type Integration struct {
	ID          lh.IntegrationID     `json:"id"`
	Name        string               `json:"name"`
	Elements    []IntegrationElement `json:"elements" nullable:"false" doc:"The only ones it may send samples of"`
	SkipUnknown bool                 `json:"skip_unknown" doc:"Leave out what names no element of the list, instead of refusing all that came with it"`
	Networks    []string             `json:"networks" nullable:"false" doc:"From which it may send; none is from everywhere"`
	Expires     lh.Millis            `json:"expires" doc:"0 is never"`
	Enabled     bool                 `json:"enabled"`
	Created     lh.Millis            `json:"created"`
}

func integrationOf(i lh.Integration) Integration {
	out := Integration{i.ID, i.Name, []IntegrationElement{}, i.SkipUnknown, networkTexts(i.Networks), i.Expires, i.Enabled, i.Created}
	for _, e := range i.Elements {
		out.Elements = append(out.Elements, IntegrationElement{e.Element, e.Name, e.Measurement, e.Field, e.Tags})
	}
	return out
}

func integrationElements(es []IntegrationElement) []lh.IntegrationElement {
	out := make([]lh.IntegrationElement, len(es))
	for i, e := range es {
		out[i] = lh.IntegrationElement{Element: e.ElementID, Name: e.Name, Measurement: e.Measurement, Field: e.Field, Tags: e.Tags}
	}
	return out
}

type listIntegrationsInput struct {
	ProjectPath
	Page
	Search
}

var integrationSheet = sheet[lh.Integration]{usual: "created", id: func(i lh.Integration) string { return string(i.ID) }, by: map[string]func(lh.Integration) sortKey{
	"created": func(i lh.Integration) sortKey { return byNumber(i.Created) },
	"expires": func(i lh.Integration) sortKey { return byNumber(i.Expires) },
	"name":    func(i lh.Integration) sortKey { return byText(i.Name) },
}}

func listIntegrations(a *API, ctx context.Context, sc store.Scope, in *listIntegrationsInput) (*list[Integration], error) {
	is, err := a.DB.Integrations(ctx, sc)
	if err != nil {
		return nil, err
	}
	is = slices.DeleteFunc(is, func(i lh.Integration) bool { return !in.matches(i.Name) })
	p, err := paged(a, ctx, in.Page, &integrationSheet, is)
	if err != nil {
		return nil, err
	}
	return pageEach(p, integrationOf), nil
}

type createIntegrationInput struct {
	ProjectPath
	Body struct {
		Name        string               `json:"name" minLength:"1" maxLength:"200" example:"Weather service"`
		Elements    []IntegrationElement `json:"elements,omitempty" maxItems:"512"`
		SkipUnknown bool                 `json:"skip_unknown,omitempty"`
		Networks    []string             `json:"networks,omitempty" maxItems:"50"`
		Expires     lh.Millis            `json:"expires,omitempty" minimum:"0"`
		Enabled     *bool                `json:"enabled,omitempty" doc:"True unless you say otherwise"`
	}
}

func createIntegration(a *API, ctx context.Context, sc store.Scope, in *createIntegrationInput) (*one[Integration], error) {
	b := in.Body
	ns, err := networksOf(b.Networks)
	if err != nil {
		return nil, err
	}
	i, err := a.DB.CreateIntegration(ctx, sc, lh.Integration{Name: b.Name, Elements: integrationElements(b.Elements), SkipUnknown: b.SkipUnknown,
		Networks: ns, Expires: b.Expires, Enabled: b.Enabled == nil || *b.Enabled})
	return &one[Integration]{integrationOf(i)}, err
}

// IntegrationPath is the part of an input that names an integration.
type IntegrationPath struct {
	ProjectPath
	Integration lh.IntegrationID `path:"integration" maxLength:"40"`
}

// program returns the id where it is one of an integration, and else what names nothing: keys of both are of one kind.
func (p IntegrationPath) program() string {
	if !p.Integration.Valid() {
		return ""
	}
	return string(p.Integration)
}

func getIntegration(a *API, ctx context.Context, sc store.Scope, in *IntegrationPath) (*one[Integration], error) {
	i, err := a.DB.Integration(ctx, sc, in.Integration)
	return &one[Integration]{integrationOf(i)}, err
}

type changeIntegrationInput struct {
	IntegrationPath
	Body struct {
		Name        *string               `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Elements    *[]IntegrationElement `json:"elements,omitempty" maxItems:"512" doc:"The whole list"`
		SkipUnknown *bool                 `json:"skip_unknown,omitempty"`
		Networks    *[]string             `json:"networks,omitempty" maxItems:"50"`
		Expires     *lh.Millis            `json:"expires,omitempty" minimum:"0"`
		Enabled     *bool                 `json:"enabled,omitempty"`
	}
}

func changeIntegration(a *API, ctx context.Context, sc store.Scope, in *changeIntegrationInput) (*one[Integration], error) {
	i, err := a.DB.Integration(ctx, sc, in.Integration)
	if err != nil {
		return nil, err
	}
	set(&i.Name, in.Body.Name)
	set(&i.SkipUnknown, in.Body.SkipUnknown)
	set(&i.Expires, in.Body.Expires)
	set(&i.Enabled, in.Body.Enabled)
	if in.Body.Elements != nil {
		i.Elements = integrationElements(*in.Body.Elements)
	}
	if in.Body.Networks != nil {
		if i.Networks, err = networksOf(*in.Body.Networks); err != nil {
			return nil, err
		}
	}
	return &one[Integration]{integrationOf(i)}, a.DB.ChangeIntegration(ctx, sc, i)
}

func deleteIntegration(a *API, ctx context.Context, sc store.Scope, in *IntegrationPath) (*struct{}, error) {
	return nil, a.DB.DeleteIntegration(ctx, sc, in.Integration)
}

func listIntegrationKeys(a *API, ctx context.Context, sc store.Scope, in *IntegrationPath) (*list[Key], error) {
	return a.keys(ctx, sc, in.program())
}

type createIntegrationKeyInput struct {
	IntegrationPath
	Body KeyBody
}

func createIntegrationKey(a *API, ctx context.Context, sc store.Scope, in *createIntegrationKeyInput) (*one[NewKey], error) {
	return made(a.Access.NewKey(ctx, sc, lh.ProgramKey{Program: in.program(), Name: in.Body.Name, Expires: in.Body.Expires}))
}

// IntegrationKeyPath is the part of an input that names a key of an integration.
type IntegrationKeyPath struct {
	IntegrationPath
	Key lh.KeyID `path:"key" maxLength:"40"`
}

type rotateIntegrationKeyInput struct {
	IntegrationKeyPath
	Body RotateBody
}

func rotateIntegrationKey(a *API, ctx context.Context, sc store.Scope, in *rotateIntegrationKeyInput) (*one[NewKey], error) {
	b := in.Body
	return made(a.Access.RotateKey(ctx, sc, lh.ProgramKey{Program: in.program(), Name: b.Name, Expires: b.Expires}, in.Key, b.Ends))
}

func revokeIntegrationKey(a *API, ctx context.Context, sc store.Scope, in *IntegrationKeyPath) (*struct{}, error) {
	return nil, a.DB.RevokeKey(ctx, sc, in.program(), in.Key)
}

type integrationUsageInput struct {
	IntegrationPath
	UsageRange
}

func getIntegrationUsage(a *API, ctx context.Context, sc store.Scope, in *integrationUsageInput) (*list[Usage], error) {
	return a.usage(ctx, sc, in.program(), in.UsageRange)
}
