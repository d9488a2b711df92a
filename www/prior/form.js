// Fields for the sampler's settings, each with a hint, and the stage slider.

import { byId, make, setText } from "../ui/dom.js";
import { numberField } from "../ui/fields.js";
import { compact, tidy } from "../ui/format.js";
import { RANGES, SAMPLERS } from "./settings.js";
import { SAMPLER_NAMES, stageName } from "./words.js";

/** @import { PriorConfig, PriorFrame } from "../contract/prior.js" */
/** @import { NumberField } from "../ui/fields.js" */
/** @import { NumberSetting } from "./settings.js" */

/** @type {Record<Exclude<NumberSetting, "stage">, { label: string, hint: string, sir?: boolean, empty?: string, slider?: readonly [number, number] }>} */
const FIELDS = {
  count: { label: "Chains", hint: "Each makes one image in the grid.", sir: true },
  step_size: { label: "Step size ε", hint: "", empty: "auto", slider: [0.005, 2] },
  warmup: { label: "Warm-up", hint: "Transitions that tune ε; no statistic includes them." },
  temperature: { label: "Temperature T", hint: "p ∝ exp(−E/T): below 1 more typical, less varied.", slider: [0.05, 20], sir: true },
  start_scale: { label: "Start scale", hint: "Chains start from N(0, scale² I). Above 1: wider than N(0, I), as R-hat needs." },
  proposals: { label: "Proposals", hint: "Drawn from N(0, I), then resampled by weight.", sir: true },
  seed: { label: "Seed", hint: "The same seed and settings give the same numbers.", sir: true },
};

export class SettingsForm {
  /** @type {Map<Exclude<NumberSetting, "stage">, NumberField>} */
  #fields = new Map();
  #sampler = make("select", { id: "p-sampler" }, ...SAMPLERS.map((name) => new Option(SAMPLER_NAMES[name], name)));
  #text = make("p", { class: "hint" });

  /**
   * @param {HTMLElement} host
   * @param {(change: Partial<PriorConfig>) => void} onChange
   */
  constructor(host, onChange) {
    host.append(make("div", { class: "field" }, make("label", { for: "p-sampler" }, "Sampler"), this.#sampler, this.#text));
    // Step sizes depend on the sampler, so the old value is dropped.
    this.#sampler.addEventListener("change", () => onChange({ sampler: this.#sampler.value, step_size: null }));
    for (const [key, { label, empty, slider }] of Object.entries(FIELDS)) {
      const name = /** @type {Exclude<NumberSetting, "stage">} */ (key);
      const field = numberField({ id: `p-${name}`, label, range: RANGES[name], ...(empty ? { empty } : {}), ...(slider ? { slider } : {}), onChange: (value) => onChange({ [name]: value }) });
      this.#fields.set(name, field);
      host.append(field.element);
    }
  }

  /** @param {PriorConfig} config @param {PriorFrame | null} frame */
  show(config, frame) {
    const sir = config.sampler === "sir";
    this.#sampler.value = config.sampler;
    setText(this.#text, /** @type {Record<string, string>} */ ({ ula: "A step down ∇E plus noise, without accept/reject: slightly biased.", mala: "Langevin steps, each accepted or rejected: exact in the long run.", hmc: "Several leapfrog steps per transition, then accept or reject.", sir: "Importance resampling: draws from N(0, I), weighted by the ratios." })[config.sampler] ?? "");
    for (const [name, field] of this.#fields) {
      field.element.hidden = sir ? FIELDS[name].sir !== true : name === "proposals";
      const own = name === "step_size" && frame ? frame.step_size : null;
      const hint = name === "step_size" ? (config.step_size === null ? `Empty: the model’s value, tuned in the warm-up${own === null ? "" : `; now ${tidy(own)}`}.` : "Size of one Langevin or leapfrog step.") : sir && name === "count" ? "Number of samples, one image each." : FIELDS[name].hint;
      field.show(config[name], hint, name === "step_size" ? (config.step_size ?? own) : config[name]);
    }
  }

  /** One line for the closed settings. @param {PriorConfig} config */
  static summary({ sampler, count, seed, warmup, temperature, start_scale, step_size, proposals }) {
    const name = SAMPLER_NAMES[sampler] ?? sampler;
    if (sampler === "sir") return `${name}, ${count} of ${proposals} proposals, T = ${tidy(temperature)}, seed ${seed}`;
    return `${name}, ${count} chains, ε ${step_size === null ? "auto" : tidy(step_size)}, warm-up ${warmup}, T = ${tidy(temperature)}, start scale ${compact(start_scale, 2)}, seed ${seed}`;
  }
}

/** The stage slider, with a mark per stage. */
export class StageSlider {
  #input = byId("p-stage", HTMLInputElement);
  #ticks = byId("p-stage-ticks", HTMLDivElement);
  #text = byId("p-stage-text", HTMLOutputElement);

  /** @param {(stage: number) => void} onChange */
  constructor(onChange) {
    this.#input.addEventListener("input", () => {
      const stage = Number(this.#input.value);
      this.#tell(stage);
      onChange(stage);
    });
  }

  /** @param {number} stage @param {number} last */
  show(stage, last) {
    this.#input.max = String(last);
    this.#input.value = String(stage);
    if (this.#ticks.children.length !== last + 1) {
      this.#ticks.replaceChildren(
        ...Array.from({ length: last + 1 }, (_, index) => {
          const tick = make("span", {}, String(index));
          tick.style.setProperty("--at", String(last === 0 ? 0 : index / last));
          return tick;
        }),
      );
    }
    this.#tell(stage);
  }

  /** @param {number} stage */
  #tell(stage) {
    const last = Number(this.#input.max);
    const name = stageName(stage);
    this.#input.setAttribute("aria-valuetext", name);
    [...this.#ticks.children].forEach((tick, index) => tick.toggleAttribute("data-on", index === stage));
    setText(this.#text, `${name.charAt(0).toUpperCase()}${name.slice(1)}${stage === last && stage > 0 ? ", the finished prior" : ""}`);
  }
}
