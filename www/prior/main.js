// Starts Prior and connects the address, the model's page, and the rooms Stages, Reconstruct and
// Anomaly.

import { Failure } from "../engine/failure.js";
import { listenForImages } from "../image/intake.js";
import { textOf } from "../model/files.js";
import { ModelPage } from "../model/page.js";
import { restOf } from "../model/run.js";
import { announce, notice } from "../ui/cards.js";
import { byId, copyWith, setText } from "../ui/dom.js";
import { compact, integer } from "../ui/format.js";
import { setUpKeys } from "../ui/keys.js";
import { Parts } from "../ui/parts.js";
import { offerToTests, readAddress, restWhenHidden, writeAddress } from "../ui/shell.js";
import { setUpTheme } from "../ui/theme.js";
import { AnomalyRoom } from "./anomaly.js";
import { SettingsForm, StageSlider } from "./form.js";
import { offered, wholeSize } from "./models.js";
import { ReconstructRoom } from "./reconstruct.js";
import { StagesRoom } from "./stages.js";
import { address, defaultState } from "./url.js";

/** @import { PriorConfig, PriorModel } from "../contract/prior.js" */
/** @import { App } from "./stages.js" */
/** @import { PriorState, Room } from "./url.js" */

/** @type {Record<Room, { title: string, lede: string }>} */
const ROOM_TEXTS = {
  stages: { title: "Stages", lede: "A generator turns a latent vector, a short list of numbers, into an image. Move the slider to see how the prior, the distribution of these vectors, was made in stages." },
  reconstruct: { title: "Reconstruct", lede: "Give the model an image: it finds the latent vector that explains the image best, and shows what the generator makes from it." },
  anomaly: { title: "Anomaly", lede: "Draw a digit, or give the model an image, and see how unlike the training data the model finds it." },
};

let state = readAddress(address);

/** @type {ModelPage<"prior", PriorModel>} */
const page = new ModelPage("prior", {
  words: { kept: "Settings and images", runs: "chains" },
  texts: {
    "bad-model": { title: "There is no model for this room", text: "This room needs a generator with a latent prior, in files that fit this version of the page. The message below says what is missing." },
    unsupported: { title: "This browser cannot run the room Prior" },
  },
  offered,
  firstChoice: (models) => models[0],
  none: "None of the available models has a latent prior. The other rooms have their own models.",
  size: wholeSize,
  load: ({ loaded }) => session.ask("load", textOf(loaded, "card.json") ?? "", loaded.weights, textOf(loaded, "scores.json")),
  wanted: () => state.model,
  choose: (name, byHand) => {
    // Stages and step sizes depend on the model; seed and number of chains are kept.
    const { seed, count } = state.settings;
    const kept = { ...(seed === undefined ? {} : { seed }), ...(count === undefined ? {} : { count }) };
    setState({ ...state, model: name, settings: byHand ? kept : state.settings, steps: byHand ? null : state.steps });
  },
  enter,
  running: () => stages.run.active,
  gone: (crashed) => {
    desk.held = null;
    if (crashed) stages.run.interrupted = false;
  },
  stop: () => stages.run.stop(),
  interrupt: () => {
    const { run } = stages;
    if (!run.open || !(run.active || run.interrupted)) return null;
    run.interrupt();
    return () => void stages.resume();
  },
  recovered: () => {
    reconstruct.recovered();
    anomaly.image.recovered();
  },
  withdraw: () => stages.refresh(),
  defaults: () => setState({ ...defaultState(), room: state.room, model: page.files?.model.name ?? null }),
});
const { session } = page;
const fail = (/** @type {unknown} */ error) => page.fail(error);
const desk = { session, held: /** @type {object | null} */ (null) };
/** @type {App} */
const app = {
  desk,
  model: () => page.model,
  modelName: () => page.shown,
  config,
  change,
  steps: () => state.steps ?? page.model?.steps ?? 1,
  interpolation: () => ({ frames: state.frames, way: state.way }),
  fail,
  busy: () => page.busy(),
  settled: () => {
    if (page.model) settings.show(config(), stages.run.frame);
  },
  reconstruct: (image, name) => {
    goTo("reconstruct");
    void reconstruct.image.use(image, name);
  },
  score: (image, name) => {
    goTo("anomaly");
    void anomaly.image.use(image, name);
  },
};
const stages = new StagesRoom(app);
const slider = new StageSlider((stage) => change({ stage }));
const settings = new SettingsForm(byId("p-fields", HTMLDivElement), change);
const reconstruct = new ReconstructRoom(app, {
  sample: () => stages.chosen,
  onSteps: (steps) => {
    setState({ ...state, steps });
    void reconstruct.image.again();
  },
  onWay: (wanted) => {
    setState({ ...state, ...wanted });
    if (reconstruct.way) void reconstruct.interpolate();
  },
});
const anomaly = new AnomalyRoom(app, () => stages.chosen);
/** Rooms that take images. */
const takers = { stages: reconstruct.image, reconstruct: reconstruct.image, anomaly: anomaly.image };

/** @returns {PriorConfig} */
function config() {
  if (!page.model) throw new Failure("bad-config", "The model is not loaded yet.");
  return { ...page.model.defaults, ...state.settings };
}

/** @param {PriorState} next */
function setState(next) {
  state = next;
  writeAddress(address.format(state));
  page.select(state.model);
  if (page.model) {
    const wanted = config();
    settings.show(wanted, stages.run.frame);
    setText(byId("p-summary", HTMLSpanElement), SettingsForm.summary(wanted));
    slider.show(wanted.stage, page.model.stages.length - 1);
    reconstruct.showSettings({ steps: app.steps(), ...app.interpolation() });
  }
  parts.show();
}

/** @param {Partial<PriorConfig>} wanted */
function change(wanted) {
  const entries = /** @type {(keyof PriorConfig)[]} */ (Object.keys(wanted));
  if (entries.every((name) => state.settings[name] === wanted[name])) return;
  setState({ ...state, settings: { ...state.settings, ...wanted } });
  stages.showStage();
  stages.changed();
}

/** @type {Parts<Room>} */
const parts = new Parts({
  texts: ROOM_TEXTS,
  links: "nav.parts",
  title: (title) => `prior: ${title.toLowerCase()}`,
  state: () => state,
  show: (room) => setState({ ...state, room }),
  format: (room) => address.format({ ...state, room }),
  shown: (room) => {
    // A hidden run is paused; Continue resumes it.
    if (room !== "stages") stages.run.pause().catch(fail);
    // Charts of a hidden room had no width, so they are redrawn.
    if (room === "stages") stages.rebuild();
    if (room === "reconstruct") reconstruct.rebuild();
    if (room === "anomaly") anomaly.rebuild();
  },
});
const goTo = (/** @type {Room} */ room) => parts.goTo(room);

/** Passes the model to the rooms. @param {PriorModel} model @param {boolean} another */
function enter(model, another) {
  const last = model.stages.length - 1;
  if ((state.settings.stage ?? 0) > last) notice("stage", "This stage does not exist.", `${model.title} has stages 0 to ${last}; the address named ${state.settings.stage}, so the last one is shown.`);
  const stage = Math.min(last, state.settings.stage ?? model.defaults.stage);
  setState({ ...state, settings: { ...model.defaults, ...state.settings, stage }, steps: state.steps ?? model.steps });
  stages.setModel(model, another);
  reconstruct.setModel(model, another);
  anomaly.setModel(model, another);
  setText(byId("model-text", HTMLParagraphElement), `${integer(model.parameters)} parameters; ${integer(model.latent)} latent numbers per image, ${last} stage${last === 1 ? "" : "s"} after N(0, I), noise σ = ${compact(model.sigma, 2)}. Licence: ${model.licence}.`);
  // Shows the starts at once, instead of an empty room.
  if (another) void stages.again(false);
  else stages.recovered();
}

// Changes of the address

/** The address was edited, or a link to a room was followed. */
function followAddress() {
  if (parts.follow(address.bareRoom(location.hash))) return;
  const next = readAddress(address);
  const { model } = page;
  const another = next.model !== null && next.model !== page.shown;
  if (another || !model) {
    setState(next);
    return void page.change();
  }
  const before = JSON.stringify(config());
  const fresh = { ...model.defaults, ...next.settings };
  setState({ ...next, model: state.model, settings: fresh, steps: next.steps ?? model.steps });
  if (before === JSON.stringify(config())) return;
  stages.showStage();
  stages.changed();
}

// Event handlers

byId("copy-link", HTMLButtonElement).addEventListener("click", ({ currentTarget }) => {
  if (!(currentTarget instanceof HTMLButtonElement)) return;
  void copyWith(currentTarget, location.href, announce);
  if (reconstruct.image.current || anomaly.image.current) notice("link", "The link includes no images.", "Images are not in the address. Everything else is.");
});
byId("p-defaults", HTMLButtonElement).addEventListener("click", () => {
  const { model } = page;
  if (!model) return;
  const { seed, stage } = config();
  change({ ...model.defaults, seed, stage });
  announce(`The model’s defaults are restored. The seed stays ${seed}.`);
});
window.addEventListener("hashchange", followAddress);
window.addEventListener("popstate", followAddress);

listenForImages((file) => {
  if (!page.model) return false;
  // An image dropped in Stages is reconstructed: nothing else applies there.
  if (state.room === "stages") goTo("reconstruct");
  void takers[state.room].take(file);
  return true;
});

/** @param {number} by */
function moveStage(by) {
  const { model } = page;
  if (!model || state.room !== "stages") return;
  const stage = Math.min(model.stages.length - 1, Math.max(0, config().stage + by));
  if (stage === config().stage) return;
  change({ stage });
}

const inStages = (/** @type {() => unknown} */ action) => () => {
  if (state.room === "stages") void action();
};
setUpKeys({
  " ": inStages(() => stages.toggle()),
  ".": inStages(() => stages.step()),
  r: inStages(() => stages.reset()),
  n: inStages(() => stages.newSeed()),
  ArrowLeft: () => moveStage(-1),
  ArrowRight: () => moveStage(1),
  1: () => goTo("stages"),
  2: () => goTo("reconstruct"),
  3: () => goTo("anomaly"),
});
setUpTheme(() => {
  stages.rebuild();
  reconstruct.rebuild();
  anomaly.rebuild();
});
const stagesNow = () => (state.room === "stages" ? stages : null);
restWhenHidden(() => restOf(stagesNow, fail));

offerToTests({
  loseDevice: () => void session.loseDevice()?.catch(fail),
  frame: () => stages.run.frame,
  config: () => stages.run.config,
  runPhase: () => stages.run.phase,
  reconstructed: () => reconstruct.image.current,
  scored: () => anomaly.image.current,
  kept: () => reconstruct.kept,
  way: () => reconstruct.way,
  model: () => page.model,
  state: () => state,
  report: () => session.report,
  busy: () => session.pending > 0,
});

setState(state);
void page.begin();
