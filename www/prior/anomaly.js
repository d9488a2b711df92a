// The room Anomaly: an image's anomaly score, and its percentile in every reference set.

import { bar } from "../image/source.js";
import { aurocText, percentileText } from "../image/words.js";
import { byId, make, setText, table } from "../ui/dom.js";
import { compact, integer } from "../ui/format.js";
import { fillReadings } from "../ui/readings.js";
import { ImageRoom } from "./image.js";
import { anomalyText, scoreParts } from "./words.js";

/** @import { PriorModel } from "../contract/prior.js" */
/** @import { Seen } from "./image.js" */
/** @import { App } from "./stages.js" */

export class AnomalyRoom {
  /**
   * @param {App} app
   * @param {() => { image: Uint8Array, name: string } | null} sample
   */
  constructor(app, sample) {
    this.app = app;
    this.image = new ImageRoom(app, { prefix: "a", label: "Drawing to score", sample, show: (seen, model) => this.#show(seen, model) });
    byId("a-to-reconstruct", HTMLButtonElement).addEventListener("click", () => {
      const { current } = this.image;
      if (current) app.reconstruct(current.pixels, current.given.name);
    });
  }

  /** @param {PriorModel} model @param {boolean} another */
  setModel(model, another) {
    const host = byId("a-failures", HTMLElement);
    host.hidden = model.known_failures.length === 0;
    byId("a-failures-list", HTMLUListElement).replaceChildren(...model.known_failures.map((text) => make("li", {}, text)));
    this.image.setModel(model, another);
  }

  /** @param {Seen} seen @param {PriorModel} model */
  #show({ given, result }, model) {
    const words = anomalyText(result, model.sets);
    setText(byId("a-conclusion", HTMLParagraphElement), words);
    const [misfit, ...rest] = scoreParts(result);
    fillReadings(byId("a-numbers", HTMLDListElement), [
      ["Score", compact(result.score, 4), "high: unlike the data"],
      ["Misfit", compact(misfit?.value, 4), "what the reconstruction gets wrong"],
      ["Latent terms", compact(rest.reduce((sum, { value }) => sum + value, 0), 4), "how unlikely the latent is under the last stage"],
      ["Mean squared error", compact(result.mse, 3), "per value, on a scale from 0 to 1"],
    ]);
    byId("a-bars", HTMLDivElement).replaceChildren(
      ...model.sets.map((set, index) => {
        const percentile = result.percentiles[index];
        return make(
          "div",
          { class: "reference" },
          make("h3", {}, set.title, " ", make("small", {}, `${integer(set.images)} images`)),
          ...(percentile ? [bar("Score", percentile)] : []),
          make("p", { class: "hint" }, set.auroc ? `Distinguished from the model’s own test set with AUROC ${aurocText(set.auroc)}.` : "The model’s own test set: normal images should score like these."),
        );
      }),
      ...(model.sets.length > 0 ? [make("p", { class: "hint" }, "Each bar is the share of the set that scores lower than this image. At 100 %, the image is less like the data than all of them. The band is the 95 % interval (Wilson). AUROC: 0.5 is guessing, 1 is perfect, and below 0.5 the score ranks them the wrong way round.")] : []),
    );
    byId("a-table", HTMLDivElement).replaceChildren(
      table(
        ["Set", "Images", "Share below (95 %)", "AUROC (95 %)"],
        model.sets.map((set, index) => {
          const percentile = result.percentiles[index];
          return [set.title, integer(set.images), percentile ? percentileText(percentile) : "–", aurocText(set.auroc)];
        }),
        "Percentiles of this image in each reference set, and AUROC of each set",
      ),
    );
    return `Scored ${given.name}: ${compact(result.score, 4)}. ${words}`;
  }

  /** Redraws in another theme. */
  rebuild() {
    this.image.rebuild();
  }
}
