// "Check us": downloads the draws of one side as a file.

import { announce } from "../ui/cards.js";
import { byId, make, setText } from "../ui/dom.js";
import { integer } from "../ui/format.js";
import { fileName, toArviz, toCsv } from "./export.js";
import { MIN_DRAWS } from "./room.js";

/** @import { Conductor } from "./conductor.js" */
/** @import { Room } from "./room.js" */

/** @param {Room} room @param {Conductor} conductor */
export function setUpTakeout(room, conductor) {
  byId("check-json", HTMLButtonElement).addEventListener("click", () => takeAway(room, conductor, "json").catch(conductor.fail));
  byId("check-csv", HTMLButtonElement).addEventListener("click", () => takeAway(room, conductor, "csv").catch(conductor.fail));
}

/** @param {Room} room @param {Conductor} conductor @param {"json" | "csv"} kind */
async function takeAway(room, conductor, kind) {
  const problem = byId("check-problem", HTMLParagraphElement);
  setText(problem, "");
  if (!room.info || !room.on) return setText(problem, "There are no chains yet.");
  await conductor.pause();
  const index = Number(byId("check-side", HTMLSelectElement).value);
  const store = room.stores[index];
  if (!store || store.kept < MIN_DRAWS) return setText(problem, `There are ${store?.kept ?? 0} draws per chain after the warm-up, but the statistics need at least ${MIN_DRAWS}. Let the chains run first.`);
  // Statistics of exactly these draws, not slightly older ones.
  const side = (await conductor.freshStatistics())?.sides[index];
  if (!side?.statistics) return;
  const run = { config: room.info.config, side: index, device: conductor.session.report?.runtime ?? "", clock: side.clock, names: room.info.traced, draws: (/** @type {string} */ name) => store.matrix(name), statistics: side.statistics };
  const text = kind === "csv" ? toCsv(run) : toArviz(run);
  const link = make("a", { download: fileName(run, kind), href: URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  announce(`${integer(store.kept)} draws of ${integer(store.chains)} chains are in your downloads.`);
}
