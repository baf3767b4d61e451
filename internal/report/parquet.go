package report

import (
	"encoding/json"
	"io"
	"reflect"

	"github.com/parquet-go/parquet-go"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// parquetCells bounds what is held in memory of a row group: so many cells.
const parquetCells = 1 << 20

// parquetWriter writes Apache Parquet: times as TIMESTAMP(MILLIS, UTC), numbers as DOUBLE, counts and flags as INT32, what may
// have no value as OPTIONAL; compressed by Snappy, which every reader has. The zone and each column's unit and element
// are in the file's metadata under "loggerhead".
type parquetWriter struct {
	to      *parquet.GenericWriter[any]
	columns []column
	rows    []parquet.Row
	values  []parquet.Value
	n       int // rows gathered
	group   int // rows in the group
	most    int // rows of a group
}

// orderedGroup is a group whose fields keep their order; [parquet.Group] sorts them by name.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g orderedGroup) Fields() []parquet.Field { return g.fields }
func (g orderedGroup) GoType() reflect.Type    { return reflect.TypeFor[struct{}]() }

type parquetColumn struct {
	Name  string `json:"name"`
	Key   string `json:"key"`
	Unit  string `json:"unit,omitempty"` // UCUM code
	Title string `json:"title,omitempty"`
}

const parquetBatch = 512

func newParquet(to io.Writer, l *layout) (*parquetWriter, error) {
	group := parquet.Group{}
	names := make([]string, len(l.columns))
	about := make([]parquetColumn, len(l.columns))
	for i, c := range l.columns {
		var node parquet.Node
		switch c.kind {
		case kindTime:
			node = parquet.Timestamp(parquet.Millisecond)
		case kindText:
			node = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
		case kindNumber:
			node = parquet.Optional(parquet.Leaf(parquet.DoubleType))
		default:
			node = parquet.Optional(parquet.Int(32))
		}
		name := c.title
		if _, there := group[name]; there || name == "" {
			name += " " + c.key
		}
		names[i], group[name] = name, parquet.Compressed(node, &parquet.Snappy)
		about[i] = parquetColumn{Name: name, Key: c.key, Unit: c.unit}
	}
	byName := map[string]parquet.Field{}
	for _, f := range group.Fields() {
		byName[f.Name()] = f
	}
	root := orderedGroup{Group: group}
	for _, n := range names {
		root.fields = append(root.fields, byName[n])
	}
	meta, err := json.Marshal(struct {
		Zone    string           `json:"zone"`
		Request lh.ExportRequest `json:"request"`
		Columns []parquetColumn  `json:"columns"`
	}{l.zone.String(), l.request, about})
	if err != nil {
		return nil, err
	}
	w := &parquetWriter{columns: l.columns, most: max(1, parquetCells/len(l.columns))}
	w.to = parquet.NewGenericWriter[any](to, parquet.NewSchema("samples", root), parquet.KeyValueMetadata("loggerhead", string(meta)), parquet.CreatedBy("Loggerhead", "", ""))
	w.values = make([]parquet.Value, parquetBatch*len(l.columns))
	for i := range parquetBatch {
		w.rows = append(w.rows, w.values[i*len(l.columns):(i+1)*len(l.columns)])
	}
	return w, nil
}

func (w *parquetWriter) row(row []cell) error {
	to := w.rows[w.n]
	for i, c := range row {
		var v parquet.Value
		optional := 0
		switch w.columns[i].kind {
		case kindTime:
			v = parquet.Int64Value(c.whole)
		case kindText:
			v = parquet.ByteArrayValue([]byte(c.text))
		case kindNumber:
			v, optional = parquet.DoubleValue(c.number), 1
		default:
			v, optional = parquet.Int32Value(int32(c.whole)), 1
		}
		if !c.ok {
			v, optional = parquet.Value{}, 0
		}
		to[i] = v.Level(0, optional, i)
	}
	if w.n++; w.n < parquetBatch {
		return nil
	}
	return w.put()
}

// put hands the gathered rows on, and ends a group that has enough.
func (w *parquetWriter) put() error {
	if _, err := w.to.WriteRows(w.rows[:w.n]); err != nil {
		return err
	}
	w.group += w.n
	w.n = 0
	if w.group < w.most {
		return nil
	}
	w.group = 0
	return w.to.Flush()
}

func (w *parquetWriter) close() error {
	if w.n > 0 {
		if err := w.put(); err != nil {
			return err
		}
	}
	return w.to.Close()
}
