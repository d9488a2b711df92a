// Starts the Studio and connects the address, the model's page, and the rooms Generate, Compose
// and Score.

import { Failure } from "../engine/failure.js";
import { listenForImages } from "../image/intake.js";
import { shareText } from "../image/words.js";
import { textOf } from "../model/files.js";
import { ModelPage } from "../model/page.js";
import { restOf } from "../model/run.js";
import { announce, notice } from "../ui/cards.js";
import { byId, copyWith, setText } from "../ui/dom.js";
import { integer } from "../ui/format.js";
import { setUpKeys } from "../ui/keys.js";
import { Parts } from "../ui/parts.js";
import { offerToTests, readAddress, restWhenHidden, writeAddress } from "../ui/shell.js";
import { setUpTheme } from "../ui/theme.js";
import { ComposeRoom } from "./compose.js";
import { SettingsForm } from "./form.js";
import { classifierFor, firstChoice, offered, wholeSize } from "./models.js";
import { RunPanel } from "./panel.js";
import { ScoreRoom } from "./score.js";
import { SETTINGS } from "./settings.js";
import { address, configOf, defaultState } from "./url.js";
import { verdictOf } from "./words.js";

/** @import { StudioModel } from "../contract/studio.js" */
/** @import { Desk } from "../model/run.js" */
/** @import { App } from "./panel.js" */
/** @import { Setting } from "./settings.js" */
/** @import { Room, StudioState } from "./url.js" */

/** @type {Record<Room, { title: string, lede: string }>} */
const ROOM_TEXTS = {
  generate: { title: "Generate", lede: "Press Generate: images form from noise, step by step, by following the gradient of an energy." },
  compose: { title: "Compose", lede: "Combine conditions with AND, OR and NOT, and see the images that the chains make. Or keep part of an image and let the chains fill in the rest." },
  score: { title: "Score", lede: "Give the model an image, and see how typical it is to the model, and why." },
};

let state = readAddress(address);

/** @type {ModelPage<"studio", StudioModel>} */
const page = new ModelPage("studio", {
  words: { kept: "Settings, conditions and images", runs: "images" },
  texts: { unsupported: { title: "This browser cannot run the studio" } },
  offered,
  firstChoice,
  none: "None of the available models can be sampled.",
  size: wholeSize,
  classifier: classifierFor,
  load: ({ loaded, classifier: judge }) => session.ask("load", textOf(loaded, "card.json") ?? "", loaded.weights, judge ? { card: textOf(judge, "card.json") ?? "", weights: judge.weights } : null, textOf(loaded, "scores.json")),
  wanted: () => state.model,
  choose: (name, byHand) => {
    // Steps, temperature and β depend on the model; seed and number of images are kept.
    const { seed, count } = state.settings;
    setState({ ...state, model: name, settings: byHand ? { ...defaultState().settings, seed, count } : state.settings });
  },
  enter,
  running: () => generate.run.active || compose.panel.run.active,
  gone: (crashed) => {
    desk.held = null;
    if (crashed) generate.run.interrupted = compose.panel.run.interrupted = false;
  },
  stop: () => Promise.all([generate.run.stop(), compose.panel.run.stop()]),
  interrupt: () => {
    const active = [generate, compose.panel].filter(({ run }) => run.open && (run.active || run.interrupted));
    for (const { run } of active) run.interrupt();
    return active.length === 0 ? null : () => active.forEach((panel) => void panel.resume());
  },
  recovered: () => score.recovered(),
  withdraw: () => {
    generate.refresh();
    compose.panel.refresh();
  },
  defaults: () => {
    compose.setClasses([], []);
    setState({ ...defaultState(), room: state.room, model: page.files?.model.name ?? null });
  },
});
const { session } = page;
const fail = (/** @type {unknown} */ error) => page.fail(error);
/** @type {Desk} */
const desk = { session, held: null };
/** @type {App} */
const app = {
  desk,
  model: () => page.model,
  modelName: () => page.shown,
  config: () => {
    if (!page.model) throw new Failure("bad-config", "The model is not loaded yet.");
    return configOf(state, page.model.defaults);
  },
  setSeed: (seed) => setSetting("seed", seed),
  fail,
  busy: () => page.busy(),
  addCondition: (image, name) => {
    compose.add({ image }, name);
    goTo("compose");
  },
  scoreImage: (image, name) => {
    goTo("score");
    void score.scoreImage(image, name);
  },
};
const generate = new RunPanel(app, {
  prefix: "g",
  verb: "Generate",
  sample: "Sample",
  config: () => app.config(),
  onFrame: (frame) => setText(byId("g-foot", HTMLParagraphElement), frame ? "Click a sample for its energy, to compose with it, or to score it." : ""),
  caption: (frame, sample) => {
    const { model } = page;
    const best = frame.verdict && model?.classifier ? verdictOf(frame.verdict, sample, model.classes)[0] : undefined;
    return best ? `${best.name} ${shareText(best.probability)}` : "";
  },
});
const settings = new SettingsForm(byId("g-fields", HTMLDivElement), "g", ["count", "steps", "rounds", "temperature", "seed", "truncation"], setSetting);
const compose = new ComposeRoom(app, { onChange: () => setState({ ...state, classes: compose.classes }), onSetting: setSetting, chosen: () => generate.chosen });
const score = new ScoreRoom(app, () => {
  if (generate.chosen) return generate.chosen;
  if (!generate.run.frame) return null;
  generate.grid.choose(generate.grid.order[0] ?? 0);
  return generate.chosen;
});

/** @param {StudioState} next */
function setState(next) {
  state = next;
  writeAddress(address.format(state));
  const { model } = page;
  if (model) {
    const config = configOf(state, model.defaults);
    settings.show(config, model.augments);
    compose.settings.show(config, model.augments);
  }
  page.select(state.model);
  parts.show();
}

/** @param {Setting} name @param {number} value */
function setSetting(name, value) {
  if (state.settings[name] === value) return;
  setState({ ...state, settings: { ...state.settings, [name]: value } });
  // The current run no longer matches the settings. β has no effect without conditions.
  if (name !== "beta") generate.outdated();
  compose.panel.outdated();
}

/** @type {Parts<Room>} */
const parts = new Parts({
  texts: ROOM_TEXTS,
  links: "nav.rooms",
  title: (title) => title.toLowerCase(),
  state: () => state,
  show: (room) => setState({ ...state, room }),
  format: (room) => address.format({ ...state, room }),
  shown: (room) => {
    for (const part of document.querySelectorAll("[data-of]")) if (part instanceof HTMLElement) part.hidden = part.dataset.of !== room;
    // A hidden run is paused; Continue resumes it.
    if (room !== "generate") generate.run.pause().catch(fail);
    if (room !== "compose") compose.panel.run.pause().catch(fail);
    if (room !== "score") score.pause();
    compose.rebuild();
  },
});
const goTo = (/** @type {Room} */ room) => parts.goTo(room);

/** Passes the model to the rooms. @param {StudioModel} model @param {boolean} another */
function enter(model, another) {
  if (another) {
    generate.forget();
    compose.panel.forget();
  }
  compose.setModel(model, another);
  // Conditions come from the address or exist already; unknown classes are dropped.
  const known = another ? compose.setClasses(state.classes, model.classes) : state.classes.length;
  if (known < state.classes.length) notice("classes", "Some conditions were dropped.", `${model.title} has ${model.classes.length} classes, and these conditions name others.`);
  const fresh = { ...state.settings };
  for (const name of SETTINGS) fresh[name] ??= model.defaults[name];
  if (!model.augments) fresh.rounds = 1;
  setState({ ...state, settings: fresh, classes: compose.classes });
  score.setModel(model, another);
  setText(generate.empty, "Press Generate. Each square will be one image, and all of them start as noise.");
  setText(byId("g-method", HTMLParagraphElement), model.method);
  setText(byId("model-text", HTMLParagraphElement), `${integer(model.parameters)} parameters${model.classifier ? `, with an independent classifier (accuracy ${(100 * model.classifier.accuracy).toFixed(1)} %)` : ""}. Licence: ${model.licence}.`);
  generate.refresh();
  compose.panel.refresh();
}

// Changes of the address

/** The address was edited, or a link to a room was followed. */
function followAddress() {
  if (parts.follow(address.bareRoom(location.hash))) return;
  const next = readAddress(address);
  const { model } = page;
  const another = next.model !== null && next.model !== page.shown;
  const fresh = { ...next.settings };
  if (!another && model) for (const name of SETTINGS) fresh[name] ??= model.defaults[name];
  const differs = JSON.stringify([next.settings, next.classes]) !== JSON.stringify([state.settings, state.classes]);
  setState({ ...next, model: next.model ?? state.model, settings: fresh });
  if (another) return void page.change();
  if (!differs || !model) return;
  compose.setClasses(state.classes, model.classes);
  generate.outdated();
  compose.panel.outdated();
}

// Event handlers

byId("copy-link", HTMLButtonElement).addEventListener("click", ({ currentTarget }) => {
  if (!(currentTarget instanceof HTMLButtonElement)) return;
  void copyWith(currentTarget, location.href, announce);
  if (compose.items.some(({ of }) => "image" in of)) notice("link", "The link includes no images.", "A condition is an image, and images are not in the address. Everything else is.");
});
byId("g-defaults", HTMLButtonElement).addEventListener("click", () => {
  const { model } = page;
  if (!model) return;
  const { seed } = state.settings;
  for (const name of SETTINGS) if (name !== "seed") setSetting(name, model.defaults[name]);
  announce(`The model’s defaults are restored. The seed stays ${seed}.`);
});
window.addEventListener("hashchange", followAddress);
window.addEventListener("popstate", followAddress);

listenForImages((file, dropped, target) => {
  if (!page.model) return false;
  if (state.room === "compose") {
    const inpaint = byId("c-inpaint", HTMLDetailsElement);
    if (dropped ? target instanceof Node && inpaint.contains(target) : compose.inpaintHasFocus) compose.takeInpaint(file);
    else compose.take(file);
  } else {
    // An image dropped in Generate is scored: nothing else applies there.
    goTo("score");
    void score.take(file);
  }
  return true;
});

const panelNow = () => (state.room === "generate" ? generate : state.room === "compose" ? compose.panel : null);
setUpKeys({
  " ": () => void (panelNow()?.toggle() ?? score.walk()),
  ".": () => void panelNow()?.step(),
  n: () => void panelNow()?.newSeed(),
  1: () => goTo("generate"),
  2: () => goTo("compose"),
  3: () => goTo("score"),
});
setUpTheme(() => {
  generate.rebuild();
  compose.rebuild();
  score.rebuild();
});

restWhenHidden(() => restOf(panelNow, fail));

offerToTests({
  loseDevice: () => void session.loseDevice()?.catch(fail),
  generated: () => generate.run.frame,
  composed: () => compose.panel.run.frame,
  config: () => panelNow()?.run.config ?? null,
  runPhase: () => panelNow()?.run.phase ?? null,
  scored: () => score.current,
  descents: () => score.descents,
  inpaint: () => ({ image: compose.inpaintPad.image, known: compose.inpaintPad.known }),
  conditions: () => compose.items,
  model: () => page.model,
  state: () => state,
  report: () => session.report,
  busy: () => session.pending > 0,
});

setState(state);
void page.begin();
