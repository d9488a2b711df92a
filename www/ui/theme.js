// Light, dark or system theme. early.js applied the stored choice before the first paint.

const KEY = "mixwell-theme";

/** @param {() => void} onChange canvas charts must be repainted */
export function setUpTheme(onChange) {
  const select = /** @type {HTMLSelectElement} */ (document.getElementById("theme"));
  select.value = document.documentElement.dataset.theme ?? "system";
  select.addEventListener("change", () => {
    if (select.value === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
    try {
      localStorage.setItem(KEY, select.value);
    } catch {
      // Storage may be denied; the choice then lasts for this visit.
    }
    onChange();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
}

const probe = document.createElement("span");
probe.hidden = true;

/**
 * The colour that a custom property has in the current theme, ready for a canvas.
 * @param {string} name for example "--ink"
 */
export function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** @param {string} rgb for example "rgb(1, 2, 3)" */
export function channels(rgb) {
  return (rgb.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/** @param {string} rgb for example "rgb(1, 2, 3)" @param {number} alpha */
export function faded(rgb, alpha) {
  return `rgba(${channels(rgb).join(", ")}, ${Math.max(0, alpha)})`;
}
