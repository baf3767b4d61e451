package sensor

import "math"

// Seconds.
const (
	hour = 3600.0
	day  = 24 * hour
)

// world is the weather and the river of one seed. Times are seconds since 1970; everything is a function of them, so any
// instant can be asked for. It is a small river in a lowland at 56° north.
type world struct {
	seed uint64
	// The charge of the battery at the start of the day it was last asked for.
	chargeDay int64
	charge    float64
}

func newWorld(seed uint64) *world { return &world{seed: seed, chargeDay: math.MinInt64} }

// The kinds of chance.
const (
	chanceRain = iota
	chanceRainStart
	chanceRainLength
	chanceRainDepth
	chanceClear
	chanceSpell
	chancePlace
)

// chance returns a number in [0, 1) that depends on nothing but the seed, the kind and n (SplitMix64).
func (w *world) chance(kind uint64, n int64) float64 {
	x := w.seed*0x9e3779b97f4a7c15 + kind*0xd1342543de82ef95 + uint64(n)*0xda942042e4dd58b5
	for range 2 {
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return float64(x>>11) / (1 << 53)
}

// gauss returns a normally distributed number, in the same way (Box and Muller).
func (w *world) gauss(kind uint64, n int64) float64 {
	u, v := 1-w.chance(kind, 2*n), w.chance(kind, 2*n+1)
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// Rain falls in events: each slot of six hours has at most one, which begins in its first half and is over before the
// slot after the next.
const (
	slot      = 6 * hour
	maxLength = 6 * hour
)

type event struct {
	start, length float64 // s
	depth         float64 // mm
}

func (w *world) event(slotNo int64) (event, bool) {
	if w.chance(chanceRain, slotNo) >= 0.16 {
		return event{}, false
	}
	return event{
		start:  float64(slotNo)*slot + w.chance(chanceRainStart, slotNo)*slot/2,
		length: hour/2 + w.chance(chanceRainLength, slotNo)*(maxLength-hour/2),
		depth:  min(1-7*math.Log(1-w.chance(chanceRainDepth, slotNo)), 45),
	}, true
}

// fallen returns how much of the event has fallen at t: it swells and ebbs away.
func (e *event) fallen(t float64) float64 {
	x := (t - e.start) / e.length
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return e.depth
	}
	return e.depth * (x - math.Sin(2*math.Pi*x)/(2*math.Pi))
}

// events hands fn the events that can have rained between from and to.
func (w *world) events(from, to float64, fn func(event)) {
	for k := int64(math.Floor((from - maxLength - slot) / slot)); float64(k)*slot < to; k++ {
		if e, ok := w.event(k); ok {
			fn(e)
		}
	}
}

// rain returns the mm that fell from one instant to another.
func (w *world) rain(from, to float64) float64 {
	var sum float64
	w.events(from, to, func(e event) { sum += e.fallen(to) - e.fallen(from) })
	return sum
}

// The river's answer to a mm of rain: it rises within hours, then falls quickly, as the fields drain, and slowly, out of
// the ground.
const (
	rise   = 1.5 * hour
	quick  = 15 * hour
	slow   = 90 * hour
	perMM  = 0.030 // m
	slowly = 0.25
	memory = 5 * slow
)

func answer(t float64) float64 {
	if t <= 0 {
		return 0
	}
	up := math.Exp(-t / rise)
	return perMM * ((1-slowly)*(math.Exp(-t/quick)-up) + slowly*(math.Exp(-t/slow)-up))
}

// level returns the water level in m. Plants drink by day, so that it is lowest in the evening.
func (w *world) level(t float64) float64 {
	h := 0.55 + 0.3*w.chance(chancePlace, 0)
	w.events(t-memory, t, func(e event) {
		// The event as six gusts of the same depth, where a sixth each of it has fallen.
		for _, x := range [...]float64{0.235, 0.365, 0.46, 0.54, 0.635, 0.765} {
			h += e.depth / 6 * answer(t-e.start-x*e.length)
		}
	})
	return h + 0.006*math.Cos(2*math.Pi*(t/day-7.0/24))
}

// conductivity returns uS/cm: rain water dilutes what comes out of the ground.
func (w *world) conductivity(level float64) float64 {
	discharge := math.Pow(max(level-0.25, 0.05), 1.7)
	return (480 + 120*w.chance(chancePlace, 1)) * math.Pow(discharge/0.25, -0.22)
}

// sun returns the sine of the sun's height, 0 at night.
func sun(t float64) float64 {
	const latitude = 56 * math.Pi / 180
	year := 2 * math.Pi * (t/day/365.2425 - 0.222) // 0 at the equinox of March
	tilt := 23.44 * math.Pi / 180 * math.Sin(year)
	turn := 2*math.Pi*(t/day) + 8.5*math.Pi/180 - math.Pi // 0 at noon, 8.5° east
	return max(0, math.Sin(latitude)*math.Sin(tilt)+math.Cos(latitude)*math.Cos(tilt)*math.Cos(turn))
}

// clear returns how clear the sky is, 0 to 1: each day is what it is at noon, and between them it changes.
func (w *world) clear(t float64) float64 {
	x := t/day - 0.5
	k := math.Floor(x)
	at := func(d float64) float64 { return 0.3 + 0.7*w.chance(chanceClear, int64(d)) }
	c := at(k) + (x-k)*(at(k+1)-at(k))
	if w.rain(t-hour/2, t+hour/2) > 0.1 {
		c *= 0.4
	}
	return c
}

// temperature returns that of the water in °C: of the year, of spells of some days, and of the day, which it follows
// late and less when the sky is grey.
func (w *world) temperature(t float64) float64 {
	year := 9.5 - 7.5*math.Cos(2*math.Pi*(t/day/365.2425-0.055))
	spell := 0.9*math.Sin(2*math.Pi*(t/day/4.3+w.chance(chanceSpell, 0))) + 0.7*math.Sin(2*math.Pi*(t/day/9.1+w.chance(chanceSpell, 1)))
	x := t/day - 0.5
	k := math.Floor(x)
	strength := func(d float64) float64 { return sun((d+0.5)*day) * (0.3 + 0.7*w.chance(chanceClear, int64(d))) }
	of := strength(k) + (x-k)*(strength(k+1)-strength(k))
	return max(year+spell+(0.25+1.6*of)*math.Cos(2*math.Pi*(t/day-15.5/24)), 0.05)
}

// The battery: what the sun puts in and the station takes out in a second, in parts of its capacity.
const (
	chargePerSecond = 0.9 / hour
	loadPerSecond   = 0.012 / hour
	chargeStep      = 600.0
)

// charged returns the charge after one step from t on.
func (w *world) charged(c, t, step float64) float64 {
	return min(max(c+step*(chargePerSecond*sun(t)*w.clear(t)-loadPerSecond), 0.05), 1)
}

// stored returns the charge of the battery at t, 0 to 1. It looks back ten days, which forget what was before.
func (w *world) stored(t float64) float64 {
	today := int64(math.Floor(t / day))
	if today != w.chargeDay {
		c := 0.8
		for i := range int(10 * day / chargeStep) {
			c = w.charged(c, float64(today-10)*day+float64(i)*chargeStep, chargeStep)
		}
		w.chargeDay, w.charge = today, c
	}
	c, at := w.charge, float64(today)*day
	for ; at+chargeStep <= t; at += chargeStep {
		c = w.charged(c, at, chargeStep)
	}
	return w.charged(c, at, t-at)
}

// voltage returns that of the battery: it follows the charge, and rises while the sun charges it.
func (w *world) voltage(t float64) float64 {
	return 11.95 + 0.75*w.stored(t) + 0.95*(1-math.Exp(-4*sun(t)*w.clear(t)))
}
