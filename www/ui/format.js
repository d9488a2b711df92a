// Number formats of the page: a true minus sign, few digits, a dash for "undefined".

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** @param {number} value */
export function integer(value) {
  return whole.format(value).replace("-", "−");
}

/**
 * About three significant digits; exponents only for very large or small numbers.
 * @param {number | null | undefined} value
 * @param {number} [digits]
 */
export function compact(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${mantissa}e${Number(exponent)}`.replaceAll("-", "−");
  }
  if (size >= 10 ** (digits - 1)) return integer(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(decimals).replace("-", "−");
}

/**
 * For settings: at most three digits, without trailing zeros.
 * @param {number | null | undefined} value
 */
export function tidy(value) {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : String(Number(value.toPrecision(3))).replaceAll("-", "−");
}

/**
 * R-hat near its goal has a third decimal; otherwise 1.014 would read as 1.01, the goal.
 * @param {number | null | undefined} value
 */
export function rhat(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value >= 100) return "> 99";
  return value.toFixed(value < 1.1 ? 3 : value < 10 ? 2 : 1);
}

/** @param {number | null} value between 0 and 1 */
export function percent(value) {
  return value === null || !Number.isFinite(value) ? "–" : `${Math.round(100 * value)} %`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return bytes < 1e5 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * An axis label with as many decimals as the tick distance needs: one for 2.5.
 * @param {number} tick
 * @param {number} increment
 */
export function axisLabel(tick, increment) {
  let decimals = 0;
  // At most six: no chart here is finer. The slack covers increments without an exact binary form.
  while (decimals < 6 && Math.abs(increment * 10 ** decimals - Math.round(increment * 10 ** decimals)) > 1e-6) decimals += 1;
  return tick.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }).replace("-", "−");
}

/** @param {number} value */
export const energyText = (value) => compact(value, 4);

/** @param {string} text */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
