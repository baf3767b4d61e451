package api

import (
	"bufio"
	"context"
	"encoding/json"
	"math"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

type windInput struct {
	ProjectPath
	Speed     lh.ElementID `query:"speed" required:"true" maxLength:"40" doc:"Element of the wind's speed"`
	Direction lh.ElementID `query:"direction" required:"true" maxLength:"40" doc:"Element of its direction, degrees"`
	From      lh.Millis    `query:"from" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"First instant, included"`
	To        lh.Millis    `query:"to" required:"true" minimum:"-62135596800000" maximum:"253402300800000" doc:"Last instant, excluded"`
	Step      string       `query:"step" required:"true" maxLength:"6" example:"PT1H" doc:"Length of a bucket, as for statistics"`
	Zone      string       `query:"zone" maxLength:"64" doc:"Where days are cut, as for statistics"`
	AsOf      lh.Millis    `query:"as_of" minimum:"0" maximum:"253402300800000" doc:"Read the series as they stood at that moment; 0 is now"`
	Raw       bool         `query:"raw" doc:"Read what was measured, without corrections and approvals"`
}

// Wind is the answer.
type Wind struct {
	Step    string       `json:"step"`
	Zone    string       `json:"zone"`
	Buckets []WindBucket `json:"buckets" nullable:"false"`
}

// WindBucket is the wind of one bucket; null is no value.
type WindBucket struct {
	From               lh.Millis `json:"from"`
	To                 lh.Millis `json:"to"`
	Pairs              int64     `json:"pairs" doc:"Instants at which both were measured"`
	Speed              *float64  `json:"speed" doc:"Mean of the speeds, calm included"`
	ResultantSpeed     *float64  `json:"resultant_speed" doc:"Length of the mean vector"`
	ResultantDirection *float64  `json:"resultant_direction" doc:"Its direction in degrees, weighted by speed"`
	Direction          *float64  `json:"direction" doc:"Unit-vector mean of the directions, without the calm"`
	DirectionStdDev    *float64  `json:"direction_std_dev" doc:"By Yamartino, degrees"`
}

// number is nil for what JSON cannot write.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func getWind(a *API, ctx context.Context, sc store.Scope, in *windInput) (*statisticsOutput, error) {
	if in.To < in.From {
		return nil, lh.Errorf(lh.Invalid, "query.to: lies before from")
	}
	step, err := calc.ParseStep(in.Step)
	if err != nil {
		return nil, err
	}
	speed, err := a.DB.Element(ctx, sc, in.Speed)
	if err != nil {
		return nil, err
	}
	direction, err := a.DB.Element(ctx, sc, in.Direction)
	if err != nil {
		return nil, err
	}
	zone, err := a.zoneOf(ctx, sc, in.Zone, direction)
	if err != nil {
		return nil, err
	}
	cal, err := calc.NewCalendar(step, zone)
	if err != nil {
		return nil, err
	}
	if width := cal.Next(in.From) - cal.Start(in.From); int64(in.To-in.From)/int64(width) > maxStatistics {
		return nil, lh.Errorf(lh.Invalid, "more than %d buckets in one answer; ask for longer buckets or a shorter range", maxStatistics)
	}
	return &statisticsOutput{ContentType: "application/json", Body: func(c huma.Context) {
		a.stream(c, sc, func(ctx context.Context, out *bufio.Writer) error {
			head, err := json.Marshal(Wind{Step: step.String(), Zone: zone.String(), Buckets: []WindBucket{}})
			if err != nil {
				return err
			}
			out.Write(head[:len(head)-2]) // up to the buckets; bufio keeps an error for Flush
			sep := ""
			err = a.Series.Wind(ctx, sc, speed, direction, in.From, in.To, series.View{Raw: in.Raw, AsOf: in.AsOf}, cal, func(s series.WindStats) error {
				b, err := json.Marshal(WindBucket{s.Start, s.End, s.Pairs, number(s.Speed), number(s.ResultantSpeed), number(s.ResultantDirection),
					number(s.Direction), number(s.DirectionDeviation)})
				if err != nil {
					return err
				}
				out.WriteString(sep)
				sep = ","
				_, err = out.Write(b)
				return err
			})
			if err != nil {
				return err
			}
			_, err = out.WriteString("]}\n")
			return err
		})
	}}, nil
}
