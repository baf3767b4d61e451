package api

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// The feed of changes: what was made, changed and deleted, and into which days of which series samples came, in the order
// in which it was committed. Whoever keeps a copy of a project asks for a cursor, reads the project, and then asks again
// and again for what came after the cursor; docs/api.md has that loop in Python and R.

// Change is one change in answers.
type Change struct {
	Kind      lh.ChangeKind `json:"kind" doc:"project, member, location, device, element, series (samples were deleted; id is the element's), correction, approval; to administrators also whatever else is audited" example:"element"`
	ID        string        `json:"id" doc:"Of a member, the user's" example:"elm_0123456789abcdef"`
	Operation lh.Operation  `json:"operation" enum:"create,change,delete" doc:"What left the locations that you see reads as deleted"`
	Version   int64         `json:"version" doc:"Counts the changes of this thing; its ETag begins with it"`
	Time      lh.Millis     `json:"time"`
	ElementID lh.ElementID  `json:"element_id,omitempty" doc:"Of a correction or an approval"`
	From      lh.Millis     `json:"from,omitempty" doc:"The range of a series that it concerns"`
	To        lh.Millis     `json:"to,omitempty"`
}

// ChangedDay is a day of a series into which samples came, in answers.
type ChangedDay struct {
	ElementID lh.ElementID `json:"element_id"`
	From      lh.Millis    `json:"from" doc:"The UTC day: first instant, included"`
	To        lh.Millis    `json:"to" doc:"Last instant, excluded"`
	Time      lh.Millis    `json:"time" doc:"When the hub filed them, some minutes after they came"`
}

// Changes is a page of the feed.
type Changes struct {
	Items  []Change     `json:"items" nullable:"false"`
	Days   []ChangedDay `json:"days" nullable:"false" doc:"Each day stands once, with the last time that samples came into it"`
	Cursor string       `json:"cursor" doc:"For since, the next time; keep it until what is here is taken over"`
	More   bool         `json:"more" doc:"There is more already: ask at once"`
}

type changesInput struct {
	ProjectPath
	Since string `query:"since" maxLength:"2048" doc:"Cursor of the answer before; “start” is all there is on record; without it, nothing comes but a cursor"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"500" doc:"At most so many changes, and so many days"`
	Wait  int    `query:"wait" minimum:"0" maximum:"30" doc:"Where there is nothing, wait so many seconds for something"`
}

// changesEvery is how often somebody who waits is looked after: for what is new, and for whether they still may.
const changesEvery = 400 * time.Millisecond

func getChanges(a *API, ctx context.Context, sc store.Scope, in *changesInput) (*one[Changes], error) {
	var at store.ChangeCursor
	switch in.Since {
	case "start":
	case "":
		now, err := a.DB.ChangesNow(ctx, sc)
		if err != nil {
			return nil, err
		}
		return a.changesAnswer(ctx, nil, nil, now, false)
	default:
		if _, err := a.openCursor(ctx, in.Since, &at); err != nil {
			return nil, lh.Errorf(lh.Invalid, "query.since: this is no cursor of this project's changes; begin again without one")
		}
	}
	if in.Wait > 0 {
		return a.waitForChange(ctx, sc, at, in)
	}
	cs, ms, next, more, err := a.DB.Changes(ctx, sc, at, in.Limit)
	if err != nil {
		return nil, err
	}
	return a.changesAnswer(ctx, cs, ms, next, more)
}

// waitForChange answers when there is something after a place that the asker may see, or when the time is up. It ends with
// an error for who may not read any longer.
func (a *API) waitForChange(ctx context.Context, sc store.Scope, at store.ChangeCursor, in *changesInput) (*one[Changes], error) {
	p := principal(ctx)
	leave, err := a.streams.enter(p.Actor().ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	tick, end := time.NewTicker(changesEvery), time.NewTimer(time.Duration(in.Wait)*time.Second)
	defer tick.Stop()
	defer end.Stop()
	for {
		now, err := a.DB.ChangesNow(ctx, sc)
		if err != nil {
			return nil, err
		}
		if now.Number > at.Number || now.Mark > at.Mark {
			cs, ms, next, more, err := a.DB.Changes(ctx, sc, at, in.Limit)
			if err != nil {
				return nil, err
			}
			if len(cs)+len(ms) > 0 || more {
				return a.changesAnswer(ctx, cs, ms, next, more)
			}
			at = next // it was nothing of theirs
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-a.closing.Done():
			return a.changesAnswer(ctx, nil, nil, at, false)
		case <-end.C:
			return a.changesAnswer(ctx, nil, nil, at, false)
		case <-tick.C:
		}
		if err := a.Access.StillIn(ctx, p); err != nil {
			return nil, err
		}
		if sc, err = a.scope(ctx, sc.Project(), lh.PermRead); err != nil {
			return nil, err
		}
	}
}

func (a *API) changesAnswer(ctx context.Context, cs []lh.Change, ms []lh.Mark, next store.ChangeCursor, more bool) (*one[Changes], error) {
	out := Changes{Items: make([]Change, len(cs)), Days: make([]ChangedDay, len(ms)), More: more}
	for i, c := range cs {
		out.Items[i] = Change{c.Kind, c.ID, c.Operation, c.Version, c.Time, c.Parent, c.From, c.To}
	}
	for i, m := range ms {
		out.Days[i] = ChangedDay{m.Element, lh.DayStart(m.Day), lh.DayStart(m.Day + 1), m.Time}
	}
	var err error
	out.Cursor, err = a.cursor(ctx, next)
	return &one[Changes]{out}, err
}
