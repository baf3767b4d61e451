package report

import (
	"context"
	"errors"
	"io"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Reader reads an export's file, one part in memory at a time; for each part the store is asked whether the export is
// still there. One goroutine owns it.
type Reader struct {
	ctx    context.Context
	x      *Exports
	sc     store.Scope
	export lh.Export
	at     int64
	number int64 // of part; -1 before the first
	part   []byte
}

// Open returns a ready export's file. Conflict: it is not ready.
func (x *Exports) Open(ctx context.Context, sc store.Scope, e lh.Export) (*Reader, error) {
	switch e.State {
	case lh.ExportReady:
		return &Reader{ctx: ctx, x: x, sc: sc, export: e, number: -1}, nil
	case lh.ExportFailed:
		return nil, lh.Errorf(lh.Conflict, "this export failed, so it has no file: %s", e.Reason)
	}
	return nil, lh.Errorf(lh.Conflict, "this export is not ready yet; its state says how far it is")
}

func (r *Reader) Read(b []byte) (int, error) {
	if r.at >= r.export.Size {
		return 0, io.EOF
	}
	if n := r.at / store.ExportPart; n != r.number {
		part, err := r.x.o.DB.ReadExportPart(r.ctx, r.sc, r.export, n)
		if err != nil {
			return 0, err
		}
		r.part, r.number = part, n
	}
	within := r.at % store.ExportPart
	if within >= int64(len(r.part)) {
		return 0, errors.New("a part of an export is shorter than it must be")
	}
	n := copy(b, r.part[within:])
	r.at += int64(n)
	return n, nil
}

// Seek implements [io.Seeker].
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.export.Size
	}
	if offset < 0 {
		return 0, errors.New("before the beginning of the file")
	}
	r.at = offset
	return offset, nil
}
