package series

import (
	"context"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Verified is what [Engine.Verify] has read.
type Verified struct {
	Projects, Elements, Chunks, Samples, Revisions, Uploads, AuditEvents int64
	// Findings is how many things are wrong; each was told in words.
	Findings int64
}

// Verify reads everything that is stored, of every project: each row opens under its key, each chunk decodes and its
// summary is what its samples add up to, what lost lost against something, uploads that wait for a fold decode, latest
// values are the series', and the audit trail is unbroken. What is wrong is told to finding, in words that name it;
// the rest is read on. progress is told now and then how far it is. An error is not a finding: it ends the reading.
func (e *Engine) Verify(ctx context.Context, finding func(string), progress func(Verified)) (Verified, error) {
	v := &verifier{e: e, tell: finding, progress: progress}
	ids, err := e.db.ProjectIDs(ctx)
	if err != nil {
		return v.Verified, err
	}
	for _, id := range ids {
		if err := v.project(ctx, id); err != nil {
			return v.Verified, err
		}
		v.Projects++
		progress(v.Verified)
	}
	n, err := e.db.VerifyAccountAudit(ctx)
	v.AuditEvents += n
	_, err = v.found(ctx, "audit trail of the installation", err)
	return v.Verified, err
}

type verifier struct {
	Verified
	e        *Engine
	tell     func(string)
	progress func(Verified)
	samples  []lh.Sample
}

// found reports whether err is nil; if not it is told as a finding, unless it ends the whole reading.
func (v *verifier) found(ctx context.Context, what string, err error) (ok bool, end error) {
	if err == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	v.Findings++
	v.tell(fmt.Sprintf("%s: %v", what, err))
	return false, nil
}

func (v *verifier) project(ctx context.Context, id lh.ProjectID) error {
	sc := v.e.o.Scope(id)
	name := "project " + string(id)
	if ok, err := v.found(ctx, name, second(v.e.db.Project(ctx, sc))); !ok {
		return err // its key does not open: nothing below it does
	}
	if _, err := v.found(ctx, "locations of "+name, second(v.e.db.Locations(ctx, sc))); err != nil {
		return err
	}
	devices, err := v.e.db.Devices(ctx, sc)
	if _, err := v.found(ctx, "devices of "+name, err); err != nil {
		return err
	}
	elements, err := v.e.db.Elements(ctx, sc)
	if _, err := v.found(ctx, "elements of "+name, err); err != nil {
		return err
	}
	for _, el := range elements {
		v.Elements++
		if _, err := v.found(ctx, "corrections of element "+string(el.ID), second(v.e.db.Corrections(ctx, sc, el.ID, lh.MinMillis, lh.MaxMillis+1))); err != nil {
			return err
		}
		if _, err := v.found(ctx, "approvals of element "+string(el.ID), second(v.e.db.Approvals(ctx, sc, el.ID, lh.MinMillis, lh.MaxMillis+1))); err != nil {
			return err
		}
	}
	err = v.e.db.ChunkKeys(ctx, sc, func(el lh.ElementID, day int32) error {
		k := chunkKey{el, day}
		_, err := v.found(ctx, k.String(), v.chunk(ctx, sc, k))
		if v.Chunks++; v.Chunks%1000 == 0 {
			v.progress(v.Verified)
		}
		return err
	})
	if _, err := v.found(ctx, "chunks of "+name, err); err != nil {
		return err
	}
	if err := v.journal(ctx, sc, name); err != nil {
		return err
	}
	sources := []lh.DeviceID{lh.Sent}
	for _, d := range devices {
		sources = append(sources, d.ID)
	}
	for _, d := range sources {
		err := v.e.db.ArrivalDays(ctx, sc, d, func(a store.ArrivalDay) error {
			_, err := v.e.codec.decodeArrivals(nil, a.Day, a.Body)
			return err
		})
		if _, err := v.found(ctx, "arrivals of device "+string(d), err); err != nil {
			return err
		}
	}
	if err := v.latest(ctx, sc, elements); err != nil {
		return err
	}
	n, err := v.e.db.VerifyAudit(ctx, sc)
	v.AuditEvents += n
	if ok, err := v.found(ctx, "audit trail of "+name, err); !ok {
		return err
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// verifyTries is how often what does not fit together is read again because a hub has changed it meanwhile.
const verifyTries = 100

// chunk says what is wrong with a chunk, its summary or its revision.
func (v *verifier) chunk(ctx context.Context, sc store.Scope, k chunkKey) error {
	for try := 1; ; try++ {
		c, err := v.e.db.WholeChunk(ctx, sc, k.element, k.day)
		if err != nil {
			return err
		}
		if c.Gen == 0 {
			return nil // deleted meanwhile
		}
		lost, err := v.whole(ctx, sc, k, c)
		if err == nil {
			v.Samples += int64(len(v.samples))
			v.Revisions += int64(lost)
			return nil
		}
		if now, e := v.e.db.WholeChunk(ctx, sc, k.element, k.day); e != nil || now.Gen == c.Gen || try == verifyTries {
			return err
		}
	}
}

// whole says what is wrong with a chunk as it was read; its samples are in v.samples. It returns how many lost.
func (v *verifier) whole(ctx context.Context, sc store.Scope, k chunkKey, c store.Chunk) (int, error) {
	var err error
	if v.samples, err = v.e.codec.decode(v.samples[:0], chunkMagic, k.day, c.Body); err != nil {
		return 0, err
	}
	if len(v.samples) == 0 {
		return 0, fmt.Errorf("%w: it holds nothing", errChunk)
	}
	if !sumsUp(k.day, c.Summary, v.samples) {
		return 0, fmt.Errorf("%w: its summary is not what its samples add up to", errChunk)
	}
	if err := checkBlocks(k.day, c.Body, v.samples); err != nil {
		return 0, err
	}
	lost, err := v.e.revision(ctx, sc, k)
	if err != nil {
		return 0, err
	}
	for _, w := range lost {
		i := position(v.samples, w.Time)
		if i == len(v.samples) || v.samples[i].Time != w.Time || v.samples[i].Rank <= w.Rank {
			return 0, fmt.Errorf("%w: what lost at %s lost against nothing", errChunk, w.Time.Time())
		}
	}
	return len(lost), nil
}

func (v *verifier) journal(ctx context.Context, sc store.Scope, name string) error {
	var u Upload
	var batch wire.Batch
	err := v.e.db.Journal(ctx, sc, "", func(row store.JournalRow) error {
		v.Uploads++
		err := row.Err
		if err == nil {
			err = decodeJournal(&u, &batch, row.Body)
		}
		_, end := v.found(ctx, "upload "+row.ID.String()+", not folded yet", err)
		return end
	})
	_, end := v.found(ctx, "journal of "+name, err)
	return end
}

// latest checks that every latest value is the series' own at its time.
func (v *verifier) latest(ctx context.Context, sc store.Scope, elements []lh.Element) error {
	var ls []lh.Latest
	err := v.e.db.EachLatest(ctx, sc, nil, func(l lh.Latest, err error) error {
		ok, end := v.found(ctx, "latest value of element "+string(l.Element), err)
		if ok {
			ls = append(ls, l)
		}
		return end
	})
	if ok, err := v.found(ctx, "latest values of project "+string(sc.Project()), err); !ok {
		return err
	}
	by := make(map[lh.ElementID]lh.Element, len(elements))
	for _, el := range elements {
		by[el.ID] = el
	}
	for _, l := range ls {
		el, ok := by[l.Element]
		if !ok {
			continue
		}
		if _, err := v.found(ctx, "latest value of element "+string(l.Element), v.isLatest(ctx, sc, el, l)); err != nil {
			return err
		}
	}
	return nil
}

// isLatest says what is wrong with a latest value. One that a hub has replaced meanwhile is read again.
func (v *verifier) isLatest(ctx context.Context, sc store.Scope, el lh.Element, l lh.Latest) error {
	for try := 1; ; try++ {
		err := errors.New("the series has no such sample")
		for s, rerr := range v.e.ReadView(ctx, sc, el, l.Sample.Time, l.Sample.Time+1, View{Raw: true}) {
			if err = rerr; err == nil && (s.Value != l.Sample.Value || s.Rank < l.Sample.Rank) {
				err = errors.New("it is not what the series has")
			}
		}
		if err == nil || try == verifyTries {
			return err
		}
		was, there := l, false
		rerr := v.e.db.EachLatest(ctx, sc, []lh.ElementID{el.ID}, func(now lh.Latest, err error) error {
			l, there = now, true
			return err
		})
		if rerr != nil || there && l.Sample == was.Sample {
			return err
		}
		if !there {
			return nil // deleted meanwhile
		}
	}
}
