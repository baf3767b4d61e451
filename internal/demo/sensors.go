package demo

import (
	"fmt"
	"time"
)

// simulator is the sensors entry of a simulated station; history gives a new one a day to look at.
func simulator(seed int, interval string, clockFaults bool) string {
	return fmt.Sprintf(`  - type: simulator
    interval: %s
    simulator:
      seed: %d
      clock_faults: %t
`, interval, seed, clockFaults)
}

// history follows a simulator's entry. It has the interval of the samples after it: a longer one would be all gaps.
func history(d time.Duration) string { return fmt.Sprintf("      history: %s\n", d) }

// replay is the sensors entry of the replayed readings. Their times are days; a day is sampled each second.
func replay() string {
	return `  - type: csv
    interval: 1s
    csv:
      file: ` + readingsFile + `
      state: replay.state
      time: time
      time_format: "2006-01-02"
      zone: America/New_York
      key: [parameter_code, statistic_id]
      value: value
      unit: unit_of_measure
      every: 24h
      units: {degC: Cel, ft^3/s: "[cft_i]/s"}
      flag: approval_status
      flags: {Approved: 1, Provisional: 2}
      channels:
        - {match: 00010/00003, key: 00010/mean, name: Water temperature (mean), quantity: temperature, unit: Cel, digits: 1, meaning: preceding_mean}
        - {match: 00010/00001, key: 00010/max, name: Water temperature (max), quantity: temperature, unit: Cel, digits: 1, meaning: preceding_max}
        - {match: 00060/00003, key: 00060/mean, name: Discharge (mean), quantity: discharge, unit: "[cft_i]/s", digits: 0, meaning: preceding_mean}
`
}
