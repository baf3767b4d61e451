// Package demo holds the readings that the demo replays, so that the program alone can run it.
package demo

import _ "embed" // the file below

//go:embed usgs-01491000-daily.csv
var usgsDaily string

// USGSDaily returns daily means and maxima of the Choptank River's water temperature and discharge, 2012-01-01 to
// 2012-05-01, as the USGS published them (CC0), in its CSV.
func USGSDaily() string { return usgsDaily }
