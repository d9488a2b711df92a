// Starts the Playground and connects the address, the settings, the buttons and keys, and the parts
// that share one run. conductor.js runs the chains; views.js shows them.

import { announce } from "../ui/cards.js";
import { byId, icon, make } from "../ui/dom.js";
import { integer, tidy } from "../ui/format.js";
import { setUpKeys } from "../ui/keys.js";
import { offerToTests, randomSeed, readAddress, reportErrors, restWhenHidden, takeOver, toggleSettings, writeAddress } from "../ui/shell.js";
import { setUpTheme } from "../ui/theme.js";
import { Conductor } from "./conductor.js";
import { DevicePanel } from "./device.js";
import { DrawPanel } from "./draw.js";
import { Settings } from "./form.js";
import { emptyGrid } from "./grid.js";
import { Learning } from "./learning.js";
import { LessonPanel } from "./lesson-panel.js";
import { summary } from "./numbers.js";
import { PathPanel } from "./path.js";
import { plain, Room } from "./room.js";
import { PACES, samplerConfig } from "./settings.js";
import { ShareDialog } from "./share.js";
import { paintLegend } from "./surface.js";
import { setUpTakeout } from "./takeout.js";
import { address, defaultState } from "./url.js";
import { Views } from "./views.js";

/** @import { Phase } from "./room.js" */
/** @import { PlayState } from "./url.js" */

const root = document.documentElement;
const play = byId("play", HTMLButtonElement);
const transport = ["back", "step", "reset", "new-seed"].map((id) => byId(id, HTMLButtonElement));
const scrub = byId("scrub", HTMLInputElement);
const quantitySelect = byId("f-quantity", HTMLSelectElement);
const chainSelect = byId("f-chain", HTMLSelectElement);
const paceSelect = byId("pace", HTMLSelectElement);

const room = new Room(readAddress(address));
const conductor = new Conductor(room, {
  setState,
  onPhase: showPhase,
  onDevice: (report) => device.show(report),
  onOffer: () => {
    settings.offer(room.samplers, room.targets);
    learning.panel.offer(room.targets);
  },
  onStart: (info) => {
    path.forget();
    quantitySelect.replaceChildren(...info.traced.map((name) => new Option(name === "energy" ? "energy E" : name, name)));
    quantitySelect.value = room.quantity;
    chainSelect.replaceChildren(new Option("none", "none"), ...Array.from({ length: info.config.chains }, (_, chain) => new Option(String(chain + 1), String(chain))));
    showChain();
    settings.accepted(info);
  },
  onDrawn: () => draw.show(room.state.drawn ?? emptyGrid()),
  onBadDrawing: (message) => draw.complain(message),
  onLeave: () => path.forget(),
  onSeek: () => {
    if (!path.visible) path.forget();
  },
  onArrive: async () => {
    if (path.visible) await path.refresh();
  },
  relearn: async (recipe, goesOn) => {
    if (await learning.through(recipe, goesOn)) learning.panel.state("done");
  },
  onFail: () => learning.fail(),
  onDefaults: () => setState(defaultState()),
});
const { fail, session } = conductor;
const views = new Views(room, session, { onPick: pick, onMatch: matchTemperature, onTest: takeTest, pathOf: (side) => path.view(side), era: () => conductor.era });
conductor.views = views;
const settings = new Settings({ onChange: (next) => conductor.change(next) });
const path = new PathPanel({ fetch: fetchPath, onChange: () => views.drawSurfaces() });
const draw = new DrawPanel({ onUse: (grid) => conductor.change({ ...room.state, drawn: grid, config: { ...plain(room.state.config), target: "drawn" } }) });
const learning = new Learning(room, conductor, setState);
const lesson = new LessonPanel(room, conductor, { setState, onLearn: () => void learning.learn().catch(fail) });
const device = new DevicePanel(room, conductor);
setUpTakeout(room, conductor);
new ShareDialog(() => ({ state: room.state, clock: room.clock }));

/** @param {Phase} phase */
function showPhase(phase) {
  for (const button of [play, ...transport]) button.disabled = !room.on;
  scrub.disabled = !room.on;
  byId("bench", HTMLDivElement).toggleAttribute("inert", !room.on);
  const [name, label] = phase === "running" ? ["pause", "Pause"] : ["play", "Play"];
  if (play.textContent !== label) play.replaceChildren(icon(name), make("span", {}, label));
}

/** @param {PlayState} next */
function setState(next) {
  room.state = next;
  writeAddress(address.format(next));
  settings.show(next);
  learning.panel.show(next.learn);
  paceSelect.value = String(next.pace);
  showChain();
  quantitySelect.value = room.quantity;
  root.toggleAttribute("data-embed", next.embed);
  if (root.dataset.hide !== next.hide.join(" ")) {
    root.dataset.hide = next.hide.join(" ");
    for (const panel of document.querySelectorAll("[data-panel]")) if (panel instanceof HTMLElement) panel.hidden = next.hide.some((name) => name === panel.dataset.panel);
    views.repaintSurfaces();
  }
  lesson.show();
}

function showChain() {
  chainSelect.value = room.state.chain === null ? "none" : String(room.state.chain);
}

// The display

/** @param {Partial<Pick<PlayState, "chain" | "quantity" | "pace">>} part */
function look(part) {
  setState({ ...room.state, ...part });
  if (!room.info) return;
  views.hurryPictures();
  views.draw();
  // The chosen chain is highlighted in the rank plot too; a running engine redraws it soon anyway.
  if (part.quantity !== undefined || room.phase === "ready") views.updateCharts().catch(fail);
}

/** Another chain's path is shown. */
function followChain() {
  if (path.visible) path.refresh().catch(fail);
}

/** @param {number | null} chain @param {number} side */
function pick(chain, side) {
  if (!room.on) return;
  if (chain !== null) byId("path-side", HTMLSelectElement).value = String(side);
  look({ chain: chain === room.state.chain ? null : chain });
  announce(room.state.chain === null ? "No chain chosen." : `Chain ${room.state.chain + 1} chosen.`);
  followChain();
}

function nextChain() {
  if (!room.info) return;
  const { chain } = room.state;
  const next = chain === null ? 0 : (chain + 1) % room.info.config.chains;
  look({ chain: next });
  announce(`Chain ${next + 1} chosen.`);
  followChain();
}

/** Recomputes the path of the chosen chain's last transition. @param {number} side */
async function fetchPath(side) {
  if (!room.info || !room.on) return false;
  await conductor.pause();
  const frame = room.frame?.sides[side];
  if (!frame || frame.transitions === 0) {
    path.forget("There is no transition yet: take a step first.");
    return false;
  }
  if (room.state.chain === null) look({ chain: 0 });
  const own = conductor.era;
  const chain = room.state.chain ?? 0;
  const found = await session.ask("path", side, chain);
  const sampler = room.sampler(side);
  if (own !== conductor.era || !sampler) return false;
  path.hold({ ...found, transition: frame.transitions }, side, chain, sampler);
  return true;
}

/** @param {number} by */
function changePace(by) {
  const pace = PACES[PACES.indexOf(/** @type {typeof PACES[number]} */ (room.state.pace)) + by];
  if (pace === undefined) return;
  look({ pace });
  announce(paceSelect.selectedOptions[0]?.text ?? "");
}

// One-click fixes

/** Sets SGLD's noise to match its drift at the requested T. @param {number} index */
function matchTemperature(index) {
  const step = room.frame?.sides[index]?.step_size;
  const config = structuredClone(room.state.config);
  const own = config.sides[index]?.sampler;
  if (!own || !step) return;
  // σ = ε√T, rounded for the address.
  own.step_size = Number(step.toPrecision(5));
  own.noise = Number((own.step_size * Math.sqrt(own.temperature)).toPrecision(5));
  void conductor.change({ ...room.state, config });
  announce(`The noise now matches T = ${tidy(own.temperature)}.`);
}

/** Switches to MALA: the same move with an accept/reject test. @param {number} index */
function takeTest(index) {
  const config = structuredClone(room.state.config);
  const own = config.sides[index];
  if (!own) return;
  const { warmup, temperature } = own.sampler;
  config.sides[index] = { ...own, sampler: { ...samplerConfig("mala"), warmup, temperature } };
  void conductor.change({ ...room.state, config });
  announce("Switched to MALA, which accepts or rejects each move.");
}

// Buttons and keys

function toggle() {
  if (room.phase !== "running") return void conductor.run().catch(fail);
  conductor
    .pause()
    .then(() => announce(`Paused. ${summary(room.sides)}.`))
    .catch(fail);
}
const back = () => void conductor.back().catch(fail);
const step = () => void conductor.step().catch(fail);
const reset = () => void conductor.reset(room.state.config.seed).catch(fail);
const newSeed = () => void conductor.reset(randomSeed()).catch(fail);

play.addEventListener("click", toggle);
byId("back", HTMLButtonElement).addEventListener("click", back);
byId("step", HTMLButtonElement).addEventListener("click", step);
byId("reset", HTMLButtonElement).addEventListener("click", reset);
byId("new-seed", HTMLButtonElement).addEventListener("click", newSeed);
for (const type of /** @type {const} */ (["input", "change"])) {
  scrub.addEventListener(type, () => {
    views.scrubbing = type === "input";
    conductor.seek(Number(scrub.value), type === "change").catch(fail);
  });
}
paceSelect.replaceChildren(...PACES.map((pace) => new Option(pace === 0 ? "as fast as possible" : `${integer(pace)} ∇E per second`, String(pace))));
paceSelect.addEventListener("change", () => look({ pace: Number(paceSelect.value) }));
quantitySelect.addEventListener("change", () => look({ quantity: quantitySelect.value }));
chainSelect.addEventListener("change", () => {
  look({ chain: chainSelect.value === "none" ? null : Number(chainSelect.value) });
  followChain();
});
byId("defaults", HTMLButtonElement).addEventListener("click", async () => {
  try {
    const { target } = room.wanted();
    await conductor.change({ ...room.state, lesson: null, chain: null, config: await session.ask("defaults", target) });
  } catch (error) {
    fail(error);
  }
});
byId("auto", HTMLDetailsElement).addEventListener("toggle", () => views.updateCharts().catch(fail));
byId("embed-link", HTMLAnchorElement).addEventListener("click", ({ currentTarget }) => {
  // With the clock on the screen.
  if (currentTarget instanceof HTMLAnchorElement) currentTarget.href = location.pathname + address.format({ ...room.state, embed: false, hide: [], at: Math.ceil(100 * room.clock) / 100 });
});

const settingsPanel = byId("settings", HTMLDetailsElement);
setUpKeys({
  " ": toggle,
  ".": step,
  ArrowRight: step,
  ArrowLeft: back,
  r: reset,
  n: newSeed,
  "[": () => changePace(-1),
  "]": () => changePace(1),
  c: nextChain,
  p: () => void path.whole().catch(fail),
  s: () => toggleSettings(settingsPanel),
});
setUpTheme(() => {
  views.rebuild();
  learning.panel.rebuild();
  draw.repaint();
  views.draw();
});

window.addEventListener("hashchange", () => conductor.change(readAddress(address)));
restWhenHidden(() => {
  if (room.phase !== "running") return null;
  conductor.pause().catch(fail);
  return () => {
    if (room.phase === "ready") conductor.run().catch(fail);
  };
});
offerToTests({
  loseDevice: () => void session.loseDevice().catch(fail),
  lastFrame: () => room.frame,
  statistics: () => room.statistics,
  report: () => session.report,
  state: () => room.state,
  info: () => room.info,
  path: () => path.path,
  draws: (/** @type {number} */ side, /** @type {string} */ name) => room.stores[side]?.matrix(name),
  busy: () => conductor.busy,
});
reportErrors(fail);
paintLegend(byId("ramp", HTMLSpanElement));
setState(room.state);
draw.show(room.state.drawn ?? emptyGrid());
takeOver();
void conductor.boot();
