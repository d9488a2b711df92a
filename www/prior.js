// Starts Prior and holds it together: the address, the model's page, and its rooms Stages,
// Reconstruct and Anomaly.

import { announce, dismiss, notice } from "./cards.js";
import { byId, copyWith, setText } from "./dom.js";
import { Failure } from "./failure.js";
import { compact, integer } from "./format.js";
import { setUpKeys } from "./keys.js";
import { ModelPage, restWhenHidden } from "./model-page.js";
import { AnomalyRoom } from "./prior-anomaly.js";
import { offered, wholeSize } from "./prior-models.js";
import { ReconstructRoom } from "./prior-reconstruct.js";
import { SettingsForm, StageSlider } from "./prior-settings.js";
import { StagesRoom } from "./prior-stages.js";
import { bareRoom, defaultState, formatState, parseState } from "./prior-url.js";
import { listenForImages } from "./studio-intake.js";
import { textOf } from "./studio-models.js";
import { setUpTheme } from "./theme.js";

/** @import { ErrorKind } from "./protocol.js" */
/** @import { PriorConfig, PriorModel } from "./prior-protocol.js" */
/** @import { App } from "./prior-stages.js" */
/** @import { PriorState, Room } from "./prior-url.js" */
/** @import { Words } from "./errors.js" */

/** @type {Record<Room, { title: string, lede: string }>} */
const ROOM_TEXTS = {
  stages: { title: "Stages", lede: "A generator turns a latent vector, a short list of numbers, into an image. Move the slider to see how the prior, the law that these vectors are drawn from, was made in stages." },
  reconstruct: { title: "Reconstruct", lede: "Give the model an image: it looks for the latent vector that explains it best, and shows what the generator makes of that." },
  anomaly: { title: "Anomaly", lede: "Draw a digit, or give an image, and see whether the model finds it unlike the data that it learned from." },
};

/** Where the race's words do not fit. @type {Partial<Record<ErrorKind, Partial<Words>>>} */
const TEXTS = {
  "device-lost": { text: "The device was lost again and again. Driver updates, sleep and overload do this. Settings and images are still here; the run can be replayed, here or on the CPU.", ways: ["restart", "cpu", "reload"] },
  panic: { text: "This is a defect of mixwell. The message below helps to find it; please copy it into a report. The page is fine: a restart loads the model again and keeps your settings and images.", ways: ["restart", "cpu", "defaults"] },
  "out-of-memory": { text: "The device has too little memory left for this run. Fewer chains need less, and closing other tabs can help.", ways: ["restart", "cpu", "defaults"] },
  "bad-model": { title: "There is no model for this room", text: "It needs a generator with a latent prior, in files that fit this version of the page. The message below says what is missing." },
  quota: { text: "There is no room for it, or the browser keeps nothing here. The model runs from memory; the next visit downloads it again." },
  unsupported: { title: "This browser cannot run the room Prior" },
};

const query = new URLSearchParams(location.search);
const root = document.documentElement;
let state = readAddress();

/** @type {ModelPage<"prior", PriorModel>} */
const page = new ModelPage("prior", {
  texts: TEXTS,
  offered,
  firstChoice: (models) => models[0],
  none: "There is no model with a latent prior among those here yet. The other rooms have models of their own.",
  size: wholeSize,
  load: ({ loaded }) => session.ask("load", textOf(loaded, "card.json") ?? "", loaded.weights, textOf(loaded, "scores.json")),
  wanted: () => state.model,
  choose: (name, byHand) => {
    // Stages and step sizes are a model's own; the seed and the number are the visitor's.
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

function readAddress() {
  const { state: read, problems } = parseState(location.hash);
  dismiss("address");
  if (problems.length > 0) notice("address", "Part of the address could not be read.", `${problems.join("; ")}. The defaults are used for ${problems.length === 1 ? "it" : "these"}.`);
  return read;
}

/** @param {PriorState} next */
function setState(next) {
  state = next;
  // Replaced, not pushed: a slider should not fill the visitor's history.
  history.replaceState(null, "", formatState(state));
  page.select(state.model);
  if (page.model) {
    const wanted = config();
    settings.show(wanted, stages.run.frame);
    setText(byId("p-summary", HTMLSpanElement), SettingsForm.summary(wanted));
    slider.show(wanted.stage, page.model.stages.length - 1);
    reconstruct.showSettings({ steps: app.steps(), ...app.interpolation() });
  }
  showRoom();
}

/** @param {Partial<PriorConfig>} wanted */
function change(wanted) {
  const entries = /** @type {(keyof PriorConfig)[]} */ (Object.keys(wanted));
  if (entries.every((name) => state.settings[name] === wanted[name])) return;
  setState({ ...state, settings: { ...state.settings, ...wanted } });
  stages.showStage();
  stages.changed();
}

let shownRoom = /** @type {Room | null} */ (null);

function showRoom() {
  const { room } = state;
  if (room === shownRoom) return;
  shownRoom = room;
  root.dataset.room = room;
  for (const name of /** @type {Room[]} */ (Object.keys(ROOM_TEXTS))) byId(`room-${name}`, HTMLElement).hidden = name !== room;
  for (const link of document.querySelectorAll("nav.parts a")) {
    if (link instanceof HTMLAnchorElement && link.dataset.room === room) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { title, lede } = ROOM_TEXTS[room];
  setText(byId("title", HTMLHeadingElement), title);
  setText(byId("lede", HTMLParagraphElement), lede);
  document.title = `mixwell – prior: ${title.toLowerCase()}`;
  // A run that nobody sees rests; it goes on with Continue.
  if (room !== "stages") stages.run.pause().catch(fail);
  // What was hidden had no width to draw in.
  if (room === "stages") stages.rebuild();
  if (room === "reconstruct") reconstruct.rebuild();
  if (room === "anomaly") anomaly.rebuild();
}

/** @param {Room} room */
function goTo(room) {
  if (room === state.room) return;
  // A step in the history, so that Back comes back.
  history.pushState(null, "", formatState({ ...state, room }));
  setState({ ...state, room });
  scrollTo({ top: 0 });
  announce(ROOM_TEXTS[room].title);
}

/** The rooms get to know the model. @param {PriorModel} model @param {boolean} another */
function enter(model, another) {
  const last = model.stages.length - 1;
  if ((state.settings.stage ?? 0) > last) notice("stage", "There is no such stage.", `${model.title} has stages 0 to ${last}; the address named ${state.settings.stage}, so the last one is shown.`);
  const stage = Math.min(last, state.settings.stage ?? model.defaults.stage);
  setState({ ...state, settings: { ...model.defaults, ...state.settings, stage }, steps: state.steps ?? model.steps });
  stages.setModel(model, another);
  reconstruct.setModel(model, another);
  anomaly.setModel(model, another);
  setText(byId("model-text", HTMLParagraphElement), `${integer(model.parameters)} parameters; ${integer(model.latent)} latent numbers an image, ${last} stage${last === 1 ? "" : "s"} after N(0, I), noise σ = ${compact(model.sigma, 2)}. Licence: ${model.licence}.`);
  // The starts at once: an empty room explains nothing.
  if (another) void stages.again(false);
  else stages.recovered();
}

// Changes from outside

/** The address was edited, or a link to a room was followed. */
function followAddress() {
  const room = bareRoom(location.hash);
  if (room) {
    dismiss("address");
    setState({ ...state, room });
    return scrollTo({ top: 0 });
  }
  const next = readAddress();
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

// Wiring

byId("copy-link", HTMLButtonElement).addEventListener("click", ({ currentTarget }) => {
  if (!(currentTarget instanceof HTMLButtonElement)) return;
  void copyWith(currentTarget, location.href, announce);
  if (reconstruct.image.current || anomaly.image.current) notice("link", "The link carries no images.", "Images are not in the address. Everything else is.");
});
byId("p-defaults", HTMLButtonElement).addEventListener("click", () => {
  const { model } = page;
  if (!model) return;
  const { seed, stage } = config();
  change({ ...model.defaults, seed, stage });
  announce(`Back to what the model recommends. The seed stays ${seed}.`);
});
for (const link of document.querySelectorAll("nav.parts a")) {
  link.addEventListener("click", (event) => {
    // Within the page: no reload, and the address keeps the rest.
    if (!(event instanceof MouseEvent) || event.ctrlKey || event.metaKey || event.shiftKey || !(link instanceof HTMLElement)) return;
    event.preventDefault();
    goTo(/** @type {Room} */ (link.dataset.room));
  });
}
// The hash is the page's state, so this one link must not become it.
document.querySelector("a.skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("rooms", HTMLDivElement).focus();
});
window.addEventListener("hashchange", followAddress);
window.addEventListener("popstate", followAddress);

listenForImages((file) => {
  if (!page.model) return false;
  // In Stages, a dropped image can only be meant to be reconstructed.
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
restWhenHidden(() => (state.room === "stages" ? stages : null), fail);

// For the browser tests, which cannot break a driver.
if (query.has("test")) {
  Object.assign(globalThis, {
    mixwellTest: {
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
    },
  });
}

setState(state);
void page.begin();
