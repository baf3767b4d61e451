// Package calc is the arithmetic of measurements: calendars that cut time where people cut it, and the statistics of
// what lies between two cuts. It does no I/O and knows no storage; samples come in ascending order of time, each once.
package calc
