package calc

import "strings"

// writtenUnits are the UCUM codes that people write otherwise; web/src/lib/units.ts has the same. It is never changed.
var writtenUnits = map[string]string{
	"Cel": "°C", "[degF]": "°F", "uS/cm": "µS/cm", "[ft_i]": "ft", "[in_i]": "in", "m3/s": "m³/s", "m3/h": "m³/h", "[cft_i]/s": "ft³/s", "m3": "m³",
	"W/m2": "W/m²", "kW.h": "kWh", "Ohm": "Ω", "m[H2O]": "mH₂O", "[pH]": "pH", "[NTU]": "NTU", "ug/L": "µg/L", "ug/m3": "µg/m³", "[ppm]": "ppm",
	"[ppb]": "ppb", "deg": "°", "umol/m2/s": "µmol/(m²·s)", "dB[mW]": "dBm",
}

// UnitText returns the unit of a UCUM code as people write it; "" for none ("1" and "{…}" have no dimension).
func UnitText(code string) string {
	if text, ok := writtenUnits[code]; ok {
		return text
	}
	if code == "1" {
		return ""
	}
	if strings.HasPrefix(code, "{") && strings.HasSuffix(code, "}") {
		return strings.Trim(code, "{}")
	}
	return code
}
