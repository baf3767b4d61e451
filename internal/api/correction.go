package api

import (
	"context"
	"slices"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Who did something, in answers.
type Who struct {
	Kind lh.ActorKind `json:"kind" enum:"user,service account,integration,device,hub"`
	ID   string       `json:"id"`
}

// whoOf returns nil for nobody.
func whoOf(a lh.Actor) *Who {
	if a == (lh.Actor{}) {
		return nil
	}
	return &Who{a.Kind, a.ID}
}

// FillSample is one sample of a fill.
type FillSample struct {
	Time  lh.Millis `json:"time"`
	Value float64   `json:"value"`
	Flag  int       `json:"flag,omitempty" enum:"1,2,3,4,9" default:"3" doc:"QARTOD; what was not measured is suspect unless you say otherwise"`
}

// Correction is a correction in answers.
type Correction struct {
	ID        lh.CorrectionID   `json:"id"`
	Number    int64             `json:"number" doc:"Place in the element's stack; corrections are applied in this order"`
	From      lh.Millis         `json:"from"`
	To        lh.Millis         `json:"to"`
	Kind      lh.CorrectionKind `json:"kind" enum:"offset,factor,drift,delete,flag,fill"`
	A         float64           `json:"a"`
	B         float64           `json:"b"`
	Flag      int               `json:"flag"`
	Samples   []FillSample      `json:"samples" nullable:"false"`
	Comment   string            `json:"comment"`
	Created   lh.Millis         `json:"created"`
	By        *Who              `json:"by"`
	Revoked   lh.Millis         `json:"revoked" doc:"0: it stands"`
	RevokedBy *Who              `json:"revoked_by"`
}

func correctionOf(c lh.Correction) Correction {
	out := Correction{ID: c.ID, Number: c.Number, From: c.From, To: c.To, Kind: c.Kind, A: c.A, B: c.B, Flag: int(c.Flag), Comment: c.Comment,
		Created: c.Created, By: whoOf(c.By), Revoked: c.Revoked, RevokedBy: whoOf(c.RevokedBy), Samples: make([]FillSample, len(c.Samples))}
	for i, s := range c.Samples {
		out.Samples[i] = FillSample{s.Time, s.Value, int(s.Flag)}
	}
	return out
}

// ElementRange is a range of an element's series; without from and to, all of it.
type ElementRange struct {
	ElementPath
	From lh.Millis `query:"from" minimum:"-62135596800000" maximum:"253402300800000" default:"-62135596800000" doc:"First instant, included"`
	To   lh.Millis `query:"to" minimum:"-62135596800000" maximum:"253402300800000" default:"253402300800000" doc:"Last instant, excluded"`
}

type listCorrectionsInput struct {
	ElementRange
	Page
	Kind    lh.CorrectionKind `query:"kind" enum:"offset,factor,drift,delete,flag,fill"`
	Revoked string            `query:"revoked" enum:"true,false"`
}

var correctionSheet = sheet[lh.Correction]{usual: "number", id: func(c lh.Correction) string { return string(c.ID) }, by: map[string]func(lh.Correction) sortKey{
	"number":  func(c lh.Correction) sortKey { return byNumber(c.Number) },
	"created": func(c lh.Correction) sortKey { return byNumber(c.Created) },
	"from":    func(c lh.Correction) sortKey { return byNumber(c.From) },
}}

func listCorrections(a *API, ctx context.Context, sc store.Scope, in *listCorrectionsInput) (*list[Correction], error) {
	if _, err := a.DB.Element(ctx, sc, in.Element); err != nil {
		return nil, err
	}
	cs, err := a.DB.Corrections(ctx, sc, in.Element, in.From, in.To)
	if err != nil {
		return nil, err
	}
	cs = slices.DeleteFunc(cs, func(c lh.Correction) bool {
		return in.Kind != "" && c.Kind != in.Kind || in.Revoked != "" && strconv.FormatBool(c.Revoked != 0) != in.Revoked
	})
	p, err := paged(a, ctx, in.Page, &correctionSheet, cs)
	if err != nil {
		return nil, err
	}
	return pageEach(p, correctionOf), nil
}

type addCorrectionInput struct {
	ElementPath
	Body struct {
		From    lh.Millis         `json:"from" doc:"First instant, included"`
		To      lh.Millis         `json:"to" doc:"Last instant, excluded"`
		Kind    lh.CorrectionKind `json:"kind" enum:"offset,factor,drift,delete,flag,fill" doc:"offset adds a; factor multiplies by a; drift adds a straight line from a at from to b at to; delete takes samples away; flag sets their flag; fill adds samples where there are none"`
		A       float64           `json:"a,omitempty"`
		B       float64           `json:"b,omitempty"`
		Flag    int               `json:"flag,omitempty" enum:"1,2,3,4,9"`
		Samples []FillSample      `json:"samples,omitempty" maxItems:"1000"`
		Comment string            `json:"comment,omitempty" maxLength:"500" doc:"Why"`
	}
}

func addCorrection(a *API, ctx context.Context, sc store.Scope, in *addCorrectionInput) (*one[Correction], error) {
	b := in.Body
	c := lh.Correction{Element: in.Element, From: b.From, To: b.To, Kind: b.Kind, A: b.A, B: b.B, Flag: lh.Flag(b.Flag), Comment: b.Comment}
	for _, s := range b.Samples {
		c.Samples = append(c.Samples, lh.Sample{Time: s.Time, Value: s.Value, Flag: lh.Flag(s.Flag)})
	}
	c, err := a.DB.AddCorrection(ctx, sc, c)
	return &one[Correction]{correctionOf(c)}, err
}

type correctionPath struct {
	ElementPath
	Correction lh.CorrectionID `path:"correction" maxLength:"40"`
}

func getCorrection(a *API, ctx context.Context, sc store.Scope, in *correctionPath) (*one[Correction], error) {
	cs, err := a.DB.Corrections(ctx, sc, in.Element, lh.MinMillis, lh.MaxMillis+1)
	for _, c := range cs {
		if err == nil && c.ID == in.Correction {
			return &one[Correction]{correctionOf(c)}, nil
		}
	}
	if err == nil {
		err = lh.Errorf(lh.NotFound, "there is no such correction of this element")
	}
	return nil, err
}

func revokeCorrection(a *API, ctx context.Context, sc store.Scope, in *correctionPath) (*one[Correction], error) {
	c, err := a.DB.RevokeCorrection(ctx, sc, in.Element, in.Correction)
	return &one[Correction]{correctionOf(c)}, err
}

// Approval is an approval in answers.
type Approval struct {
	ID        lh.ApprovalID `json:"id"`
	From      lh.Millis     `json:"from"`
	To        lh.Millis     `json:"to"`
	Comment   string        `json:"comment"`
	Created   lh.Millis     `json:"created" doc:"Readers see the range as it stood then"`
	By        *Who          `json:"by"`
	Revoked   lh.Millis     `json:"revoked" doc:"0: it stands"`
	RevokedBy *Who          `json:"revoked_by"`
}

func approvalOf(p lh.Approval) Approval {
	return Approval{p.ID, p.From, p.To, p.Comment, p.Created, whoOf(p.By), p.Revoked, whoOf(p.RevokedBy)}
}

type listApprovalsInput struct {
	ElementRange
	Page
	Revoked string `query:"revoked" enum:"true,false"`
}

var approvalSheet = sheet[lh.Approval]{usual: "created", id: func(p lh.Approval) string { return string(p.ID) }, by: map[string]func(lh.Approval) sortKey{
	"created": func(p lh.Approval) sortKey { return byNumber(p.Created) },
	"from":    func(p lh.Approval) sortKey { return byNumber(p.From) },
}}

func listApprovals(a *API, ctx context.Context, sc store.Scope, in *listApprovalsInput) (*list[Approval], error) {
	if _, err := a.DB.Element(ctx, sc, in.Element); err != nil {
		return nil, err
	}
	as, err := a.DB.Approvals(ctx, sc, in.Element, in.From, in.To)
	if err != nil {
		return nil, err
	}
	as = slices.DeleteFunc(as, func(p lh.Approval) bool {
		return in.Revoked != "" && strconv.FormatBool(p.Revoked != 0) != in.Revoked
	})
	p, err := paged(a, ctx, in.Page, &approvalSheet, as)
	if err != nil {
		return nil, err
	}
	return pageEach(p, approvalOf), nil
}

type approveInput struct {
	ElementPath
	Body struct {
		From    lh.Millis `json:"from" doc:"First instant, included"`
		To      lh.Millis `json:"to" doc:"Last instant, excluded"`
		Comment string    `json:"comment,omitempty" maxLength:"500"`
	}
}

func approve(a *API, ctx context.Context, sc store.Scope, in *approveInput) (*one[Approval], error) {
	p, err := a.DB.Approve(ctx, sc, lh.Approval{Element: in.Element, From: in.Body.From, To: in.Body.To, Comment: in.Body.Comment})
	return &one[Approval]{approvalOf(p)}, err
}

type approvalPath struct {
	ElementPath
	Approval lh.ApprovalID `path:"approval" maxLength:"40"`
}

func getApproval(a *API, ctx context.Context, sc store.Scope, in *approvalPath) (*one[Approval], error) {
	as, err := a.DB.Approvals(ctx, sc, in.Element, lh.MinMillis, lh.MaxMillis+1)
	for _, p := range as {
		if err == nil && p.ID == in.Approval {
			return &one[Approval]{approvalOf(p)}, nil
		}
	}
	if err == nil {
		err = lh.Errorf(lh.NotFound, "there is no such approval of this element")
	}
	return nil, err
}

func revokeApproval(a *API, ctx context.Context, sc store.Scope, in *approvalPath) (*struct{}, error) {
	return nil, a.DB.RevokeApproval(ctx, sc, in.Element, in.Approval)
}

type deleteSeriesInput struct {
	ElementPath
	From lh.Millis `query:"from" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"First instant, included"`
	To   lh.Millis `query:"to" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"Last instant, excluded"`
}

func deleteSeries(a *API, ctx context.Context, sc store.Scope, in *deleteSeriesInput) (*struct{}, error) {
	e, err := a.DB.Element(ctx, sc, in.Element)
	if err != nil {
		return nil, err
	}
	return nil, a.Series.Delete(ctx, sc, e, in.From, in.To)
}
