package calc

import (
	"math"
)

// Wind gathers directions (degrees, where it comes from) and, where there are, speeds of the same instants. The mean
// of 350° and 10° is 0°, never 180°. The zero value is empty.
type Wind struct {
	n              float64
	sin, cos       float64 // of directions
	moving         float64 // pairs of direction and speed
	east, north    float64 // speed-weighted
	speeds, speedN float64
}

// AddDirection takes a direction without a speed.
func (w *Wind) AddDirection(degrees float64) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	w.n++
	w.sin += sin
	w.cos += cos
}

// Add takes a speed and a direction of one instant. Calm (speed 0) has no direction: it counts for the speed only.
func (w *Wind) Add(speed, degrees float64) {
	w.speeds += speed
	w.speedN++
	w.moving++
	if speed == 0 {
		return
	}
	w.AddDirection(degrees)
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	w.east += speed * sin
	w.north += speed * cos
}

// degrees returns the angle of a vector in [0, 360); NaN where it has no length to speak of.
func degrees(x, y, n float64) float64 {
	if n == 0 || math.Hypot(x, y)/n < 1e-12 {
		return math.NaN()
	}
	d := math.Atan2(x, y) * 180 / math.Pi
	if d < 0 {
		d += 360
	}
	if d >= 360 { // -1e-17 + 360
		d = 0
	}
	return d
}

// MeanDirection is the unit-vector mean, atan2(mean sin θ, mean cos θ), in [0, 360); NaN where the directions cancel
// out or there are none.
func (w *Wind) MeanDirection() float64 { return degrees(w.sin, w.cos, w.n) }

// MeanSpeed is the mean of all speeds, calm ones too.
func (w *Wind) MeanSpeed() float64 { return w.speeds / w.speedN }

// Resultant is the speed-weighted mean vector: its length (of the unit of the speeds) and its direction in [0, 360).
func (w *Wind) Resultant() (speed, direction float64) {
	if w.moving == 0 {
		return math.NaN(), math.NaN()
	}
	return math.Hypot(w.east, w.north) / w.moving, degrees(w.east, w.north, w.moving)
}

// Pairs is how many pairs of speed and direction were added.
func (w *Wind) Pairs() int64 { return int64(w.moving) }

// Yamartino is the standard deviation of the direction in degrees (R. J. Yamartino, 1984): asin(ε)·(1 + 0.1547·ε³)
// with ε = √(1 − (ux² + uy²)) of the unit-vector mean.
func (w *Wind) Yamartino() float64 {
	if w.n == 0 {
		return math.NaN()
	}
	ux, uy := w.sin/w.n, w.cos/w.n
	e := math.Sqrt(max(0, 1-(ux*ux+uy*uy)))
	return math.Asin(min(e, 1)) * (1 + 0.1547*e*e*e) * 180 / math.Pi
}
