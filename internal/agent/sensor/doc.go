// Package sensor reads what a datalogger measures: a simulated station, a replayed CSV file, a program's output, a
// file, or registers over Modbus, all behind [Sensor].
//
// No value is absence, never 0: a channel that gave nothing, a null token or something that is no finite number is left
// out of the record. What a sensor sends is hostile input, bounded in size and time.
package sensor
