// The settings form: shows a PlayState and reports changes. Its only own state is the engine's list
// of targets and samplers.

import { byId, make, setText } from "../ui/dom.js";
import { numberField } from "../ui/fields.js";
import { capital, integer, tidy } from "../ui/format.js";
import { RANGES, side as freshSide } from "./settings.js";

/** @import { PlayInfo, PlaySampler, PlaySide, SamplerConfig, SamplerInfo, TargetInfo } from "../contract/playground.js" */
/** @import { NumberField } from "../ui/fields.js" */
/** @import { PlayState } from "./url.js" */

const NAMES = /** @type {const} */ (["a", "b"]);
/** A slider fires for every pixel; the chains restart once it rests. */
const SETTLE_MS = 200;

/**
 * A number setting of a sampler, with the key of SamplerInfo.settings that offers it.
 * @typedef {object} Setting
 * @property {SamplerInfo["settings"][number]} of
 * @property {keyof SamplerConfig} key
 * @property {keyof typeof RANGES} range
 * @property {string} label
 * @property {string} hint
 * @property {string} [empty]
 * @property {readonly [number, number]} [slider]
 */

/** @type {Setting[]} */
const SETTINGS = [
  { of: "step_size", key: "step_size", range: "eps", label: "Step size ε", hint: "", empty: "auto", slider: [0.001, 5] },
  { of: "temperature", key: "temperature", range: "T", label: "Temperature T", hint: "1: the density as it is. Below 1: colder.", slider: [0.05, 20] },
  { of: "leapfrog_steps", key: "leapfrog_steps", range: "leapfrog", label: "Leapfrog steps", hint: "∇E per transition" },
  { of: "max_tree_depth", key: "max_tree_depth", range: "depth", label: "Largest tree depth", hint: "at most 2^depth − 1 leapfrog steps" },
  { of: "noise", key: "noise", range: "noise", label: "Noise σ", hint: "auto: ε/100. T = σ²/(2a) with a = ε²/2, so σ = ε is T = 1.", empty: "auto", slider: [0.0001, 5] },
  { of: "clip", key: "clip", range: "clip", label: "Clip ∇E at", hint: "empty: no clip", empty: "none" },
  { of: "friction", key: "friction", range: "friction", label: "Friction γ", hint: "how fast momenta decorrelate", slider: [0.01, 100] },
  { of: "rungs", key: "rungs", range: "rungs", label: "Temperatures", hint: "each one costs gradients" },
  { of: "hottest", key: "hottest", range: "hottest", label: "Hottest, as a multiple of T", hint: "hot enough to cross the highest pass" },
];

export class Settings {
  /** @type {PlayState | null} */
  #state = null;
  /** @type {PlayInfo | null} the accepted run */
  #info = null;
  /** @type {SamplerInfo[]} */
  #samplers = [];
  /** @type {TargetInfo[]} */
  #targets = [];
  #timer = 0;
  #target = byId("f-target", HTMLSelectElement);
  #start;
  /** @type {Record<"seed" | "chains" | "superchains", NumberField>} */
  #shared;
  /** The sampler and options that a side's fields were built for. */
  #made = ["", ""];
  /** @type {{ fields: Map<keyof SamplerConfig, NumberField>, boxes: Map<string, HTMLInputElement>, space: HTMLSelectElement | null }[]} */
  #own = [];

  /**
   * @param {object} listeners
   * @param {(state: PlayState) => void} listeners.onChange
   */
  constructor({ onChange }) {
    this.onChange = onChange;
    byId("form", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    this.#shared = {
      seed: numberField({ id: "f-seed", label: "Seed", range: RANGES.seed, onChange: (value) => this.#edit(({ config }) => (config.seed = Number(value))) }),
      chains: numberField({
        id: "f-chains",
        label: "Chains on each side",
        range: RANGES.chains,
        onChange: (value) =>
          this.#edit((state) => {
            const { config } = state;
            config.chains = Number(value);
            config.superchains = divisor(config.chains, config.superchains);
            if (state.chain !== null && state.chain >= config.chains) state.chain = null;
          }),
      }),
      superchains: numberField({
        id: "f-superchains",
        label: "Superchains",
        range: RANGES.superchains,
        onChange: (value) => {
          const chains = this.#state?.config.chains ?? 1;
          if (chains % Number(value) !== 0) return `${chains} chains cannot be divided into ${value} equal groups. Nothing was changed.`;
          this.#edit(({ config }) => (config.superchains = Number(value)));
          return null;
        },
      }),
    };
    this.#start = make("select", { id: "f-start" }, new Option("all over the plane", "dispersed"), new Option("at one mode", "mode"), new Option("in superchains", "superchains"));
    this.#start.addEventListener("change", () =>
      this.#edit(({ config }) => {
        config.start = /** @type {PlayState["config"]["start"]} */ (this.#start.value);
        if (config.start === "superchains" && config.superchains === 1) config.superchains = divisor(config.chains, 4) > 1 ? divisor(config.chains, 4) : config.chains;
      }),
    );
    byId("shared-fields", HTMLDivElement).append(
      this.#shared.chains.element,
      make("div", { class: "field" }, make("label", { for: "f-start" }, "Start"), this.#start, make("p", { class: "hint" }, "R-hat only sees what the chains reach.")),
      this.#shared.superchains.element,
      this.#shared.seed.element,
    );
    this.#target.addEventListener("change", () =>
      this.#edit(({ config }) => {
        config.target = this.#target.value;
        for (const side of config.sides) {
          // Step sizes depend on the target, so old values are dropped.
          [side.sampler.step_size, side.sampler.noise] = [null, null];
          if (config.target !== "learned") side.space = "data";
        }
      }),
    );
    NAMES.forEach((name, index) => {
      const select = byId(`f-${name}-sampler`, HTMLSelectElement);
      select.addEventListener("change", () =>
        this.#edit(({ config }) => {
          if (select.value === "none") config.sides.length = 1;
          else {
            const { warmup = 100, temperature = 1 } = config.sides[index]?.sampler ?? config.sides[0]?.sampler ?? {};
            config.sides[index] = freshSide(/** @type {PlaySampler} */ (select.value), { warmup, temperature }, config.sides[index]?.space ?? "data");
          }
        }),
      );
    });
  }

  /** @param {SamplerInfo[]} samplers @param {TargetInfo[]} targets */
  offer(samplers, targets) {
    [this.#samplers, this.#targets] = [samplers, targets];
    this.#target.replaceChildren(...targets.map(({ title, name }) => new Option(title, name)));
    NAMES.forEach((name, index) => {
      const options = samplers.map((sampler) => new Option(capital(sampler.title), sampler.name));
      byId(`f-${name}-sampler`, HTMLSelectElement).replaceChildren(...(index === 1 ? [new Option("none: one side only", "none")] : []), ...options);
    });
    this.#made = ["", ""];
    if (this.#state) this.show(this.#state);
  }

  /** @param {string} name */
  sampler(name) {
    return this.#samplers.find((sampler) => sampler.name === name);
  }

  /** @param {PlayInfo} info */
  accepted(info) {
    this.#info = info;
    if (this.#state) this.show(this.#state);
  }

  /** @param {PlayState} state */
  show(state) {
    this.#state = state;
    const { config } = state;
    const target = this.#targets.find(({ name }) => name === config.target);
    this.#target.value = config.target;
    setText(byId("target-text", HTMLParagraphElement), target?.description ?? "");
    this.#shared.seed.show(config.seed);
    this.#shared.chains.show(config.chains);
    this.#shared.superchains.show(config.superchains, config.superchains > 1 ? `${config.chains / config.superchains} chains in each; nested R-hat compares them` : "1: none");
    this.#start.value = config.start;
    NAMES.forEach((name, index) => {
      const own = config.sides[index];
      const select = byId(`f-${name}-sampler`, HTMLSelectElement);
      select.value = own?.sampler.sampler ?? "none";
      for (const option of select.options) {
        option.disabled = option.value === "gibbs" && target !== undefined && !target.conditionals && own?.sampler.sampler !== "gibbs";
      }
      byId(`${name}-settings`, HTMLFieldSetElement).hidden = own === undefined;
      if (own) this.#showSide(name, index, own);
    });
    const parts = [
      `${integer(config.chains)} chains`,
      { dispersed: "starts all over the plane", mode: "starts at one mode", superchains: `starts in ${config.superchains} superchains` }[config.start],
      ...config.sides.map(({ sampler }, index) => `${config.sides.length > 1 ? `side ${index + 1}: ` : ""}${this.#info?.config.sides[index]?.sampler.sampler === sampler.sampler ? `ε = ${tidy(sampler.step_size ?? this.#info?.config.sides[index]?.sampler.step_size)}` : "ε auto"}, warm-up ${integer(sampler.warmup)}`),
      `seed ${config.seed}`,
    ];
    setText(byId("settings-summary", HTMLSpanElement), parts.join(" · "));
  }

  /** @param {"a" | "b"} name @param {number} index @param {PlaySide} own */
  #showSide(name, index, own) {
    const info = this.sampler(own.sampler.sampler);
    if (!info) return;
    const learned = this.#state?.config.target === "learned";
    const adapts = info.target_accept !== null;
    const made = `${info.name}/${learned}/${adapts && !own.sampler.no_adapt}`;
    if (this.#made[index] !== made) {
      this.#made[index] = made;
      this.#make(name, index, info, learned, adapts && !own.sampler.no_adapt);
    }
    setText(byId(`${name}-legend`, HTMLSpanElement), this.#state?.config.sides.length === 1 ? capital(info.title) : `Side ${index + 1}: ${info.title}`);
    setText(byId(`${name}-sampler-text`, HTMLParagraphElement), info.description);
    const { fields, boxes, space } = this.#own[index] ?? {};
    const accepted = this.#info?.config.sides[index]?.sampler;
    for (const [key, field] of fields ?? []) {
      const value = /** @type {number | null} */ (own.sampler[key]);
      const known = accepted?.sampler === info.name ? /** @type {number | null} */ (accepted[key]) : null;
      field.show(value, this.#hint(key, value, accepted, info), value ?? known);
    }
    const adapt = boxes?.get("adapt");
    if (adapt) adapt.checked = !own.sampler.no_adapt;
    const mass = boxes?.get("mass");
    if (mass) mass.checked = own.sampler.adapt_mass;
    if (space) space.value = own.space;
  }

  /** @param {keyof SamplerConfig} key @param {number | null} value @param {SamplerConfig | undefined} accepted @param {SamplerInfo} info */
  #hint(key, value, accepted, info) {
    const setting = SETTINGS.find((candidate) => candidate.key === key);
    if (key === "step_size") {
      const known = accepted?.sampler === info.name ? accepted.step_size : null;
      const adapts = info.target_accept !== null && accepted && !accepted.no_adapt && accepted.warmup > 0 ? " The warm-up adapts it." : "";
      return value === null ? `Empty: the target’s value${known === null ? "" : `, ${tidy(known)}`}.${adapts}` : `Your value.${adapts}`;
    }
    if (key === "target_accept") return value === null ? `Empty: the sampler’s default, ${tidy(info.target_accept)}.` : "Your value.";
    if (key === "warmup") return "transitions that no statistic includes";
    return setting?.hint ?? "";
  }

  /**
   * Builds only the fields that this sampler uses.
   * @param {"a" | "b"} name
   * @param {number} index
   * @param {SamplerInfo} info
   * @param {boolean} learned
   * @param {boolean} adapting
   */
  #make(name, index, info, learned, adapting) {
    /** @param {(sampler: SamplerConfig) => void} change */
    const edit = (change) =>
      this.#edit(({ config }) => {
        const sampler = config.sides[index]?.sampler;
        if (sampler) change(sampler);
      });
    /** @type {Map<keyof SamplerConfig, NumberField>} */
    const fields = new Map();
    /** @type {Map<string, HTMLInputElement>} */
    const boxes = new Map();
    const host = byId(`${name}-settings`, HTMLFieldSetElement);
    host.querySelectorAll(".field, .check").forEach((element) => element.remove());
    /** @type {HTMLSelectElement | null} */
    let space = null;
    if (learned) {
      const choose = make("select", { id: `f-${name}-space` }, new Option("the plane (data space)", "data"), new Option("latent space of the flow", "latent"));
      choose.addEventListener("change", () =>
        this.#edit(({ config }) => {
          const own = config.sides[index];
          if (!own) return;
          own.space = /** @type {PlaySide["space"]} */ (choose.value);
          own.sampler.step_size = null;
        }),
      );
      host.append(make("div", { class: "field" }, make("label", { for: choose.id }, "Sample in"), choose));
      space = choose;
    }
    for (const { of, key, range, label, empty, slider } of SETTINGS) {
      if (!info.settings.includes(of)) continue;
      const field = numberField({ id: `f-${name}-${range}`, label, range: RANGES[range], ...(empty ? { empty } : {}), ...(slider ? { slider } : {}), onChange: (value) => edit((sampler) => Object.assign(sampler, { [key]: value })) });
      fields.set(key, field);
      host.append(field.element);
    }
    const warmup = numberField({ id: `f-${name}-warmup`, label: "Warm-up", range: RANGES.warmup, onChange: (value) => edit((sampler) => (sampler.warmup = Number(value))) });
    fields.set("warmup", warmup);
    host.append(warmup.element);
    if (adapting) {
      const accept = numberField({ id: `f-${name}-accept`, label: "Target acceptance", range: RANGES.accept, empty: "auto", onChange: (value) => edit((sampler) => (sampler.target_accept = value)) });
      fields.set("target_accept", accept);
      host.append(accept.element);
    }
    /** @param {string} key @param {string} label @param {(sampler: SamplerConfig, on: boolean) => void} set */
    const box = (key, label, set) => {
      const input = make("input", { type: "checkbox", id: `f-${name}-${key}` });
      input.addEventListener("change", () => edit((sampler) => set(sampler, input.checked)));
      boxes.set(key, input);
      host.append(make("label", { class: "check" }, input, make("span", {}, label)));
    };
    if (info.target_accept !== null) box("adapt", "Adapt the step size during warm-up", (sampler, on) => (sampler.no_adapt = !on));
    if (info.settings.includes("adapt_mass")) box("mass", "Adapt a diagonal mass matrix during warm-up", (sampler, on) => (sampler.adapt_mass = on));
    this.#own[index] = { fields, boxes, space };
  }

  /** @param {(state: PlayState) => unknown} change */
  #edit(change) {
    if (!this.#state) return;
    const next = structuredClone(this.#state);
    change(next);
    // A start clock of another run does not apply.
    next.at = null;
    this.show(next);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.onChange(next), SETTLE_MS);
  }
}

/** The largest divisor of `chains` that is at most `wish`. @param {number} chains @param {number} wish */
function divisor(chains, wish) {
  for (let groups = Math.min(wish, chains); groups > 1; groups -= 1) if (chains % groups === 0) return groups;
  return 1;
}
