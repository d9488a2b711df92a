// The page of the room Prior. Its text is in page.html, beside this file.

/** @type {import("../ui/page.js").Page} */
export default {
  file: "prior.html",
  links: [
    { text: "Prior", href: "./prior.html" },
  ],
  title: "prior",
  description: "A generative model whose latent prior was made in stages, by density ratios: watch its chains, reconstruct and interpolate images, score anomalies. Computed on your machine.",
  bodyClass: "studio prior",
  styles: ["image/image.css", "prior/prior.css"],
  skip: { to: "rooms", text: "Skip to the room" },
  computed: "The images are computed on your own machine, by WebAssembly in a worker.",
  footer: "Everything is computed on your machine. Nothing you do here, and no image, is sent anywhere.",
  keys: [
    ["<kbd>←</kbd> <kbd>→</kbd>", "Previous, next stage"],
    ["<kbd>Space</kbd>", "Run, pause or continue"],
    ["<kbd>.</kbd>", "One transition"],
    ["<kbd>r</kbd>", "Reset: back to the starts, same seed"],
    ["<kbd>n</kbd>", "New seed"],
    ["<kbd>1</kbd> <kbd>2</kbd> <kbd>3</kbd>", "Stages, Reconstruct, Anomaly"],
    ["arrows, <kbd>Enter</kbd>", "Move in the grid, choose a sample"],
    ["<kbd>Ctrl</kbd> <kbd>V</kbd>", "Paste an image"],
    ["<kbd>?</kbd>", "This list"],
  ],
  keysHint: "Shortcuts are off while you type in a field. The address always holds the whole setup, except images.",
};
