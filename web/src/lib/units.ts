// Units as people write them. The hub speaks UCUM codes; what is not in the table is shown as it is.

const written: Record<string, string> = {
  Cel: '°C', '[degF]': '°F', K: 'K',
  'uS/cm': 'µS/cm', 'mS/cm': 'mS/cm', 'S/m': 'S/m',
  m: 'm', cm: 'cm', mm: 'mm', km: 'km', '[ft_i]': 'ft', '[in_i]': 'in',
  'm3/s': 'm³/s', 'L/s': 'L/s', 'm3/h': 'm³/h', '[cft_i]/s': 'ft³/s', m3: 'm³', L: 'L',
  'm/s': 'm/s', 'km/h': 'km/h', 'mm/h': 'mm/h',
  V: 'V', mV: 'mV', A: 'A', mA: 'mA', W: 'W', kW: 'kW', 'W/m2': 'W/m²', 'kW.h': 'kWh', Ohm: 'Ω',
  Pa: 'Pa', hPa: 'hPa', kPa: 'kPa', mbar: 'mbar', bar: 'bar', 'm[H2O]': 'mH₂O',
  '%': '%', '[pH]': 'pH', '[NTU]': 'NTU', 'mg/L': 'mg/L', 'ug/L': 'µg/L', 'ug/m3': 'µg/m³', '[ppm]': 'ppm', '[ppb]': 'ppb',
  deg: '°', s: 's', min: 'min', h: 'h', d: 'd', Hz: 'Hz', 'umol/m2/s': 'µmol/(m²·s)', dB: 'dB', 'dB[mW]': 'dBm', lx: 'lx',
};

/** The unit of a UCUM code as people write it; "" for none ("1" and "{…}" are UCUM's dimensionless). */
export function unitText(code: string): string {
  if (Object.hasOwn(written, code)) return written[code]!;
  return code === '1' || /^\{.*\}$/.test(code) ? code.replace(/^1$|[{}]/g, '') : code;
}

/** A value with its unit, as after a no-break space; the signs of angle and percent stand close. */
export function withUnit(value: string, code: string): string {
  const unit = unitText(code);
  if (unit === '') return value;
  return unit === '°' ? value + unit : `${value}\u00a0${unit}`;
}
