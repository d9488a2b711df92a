// The page of the Race. Its text is in page.html, beside this file.

/** @type {import("../ui/page.js").Page} */
export default {
  file: "index.html",
  links: [
    { text: "Race", href: "./index.html" },
  ],
  title: "the race",
  description: "The same energy-based model sampled twice, in pixel space and in the latent space of a flow or a generator. See which chains mix.",
  bodyClass: "",
  styles: [],
  skip: { to: "race", text: "Skip to the race" },
  computed: "The race is computed on your own machine, by WebAssembly and WebGPU in a worker.",
  footer: "Everything is computed on your machine. Nothing you do here is sent anywhere.",
  keys: [
    ["<kbd>Space</kbd>", "Play or pause"],
    ["<kbd>.</kbd> or <kbd>→</kbd>", "One transition on each side"],
    ["<kbd>r</kbd>", "Reset: same seed, same start"],
    ["<kbd>n</kbd>", "New seed"],
    ["<kbd>[</kbd> and <kbd>]</kbd>", "Slower, faster"],
    ["<kbd>s</kbd>", "Open or close the settings"],
    ["<kbd>?</kbd>", "This list"],
    ["<kbd>←</kbd> <kbd>↑</kbd> <kbd>↓</kbd> <kbd>→</kbd>", "In the tiles: follow another chain; <kbd>Esc</kbd> follows none"],
  ],
  keysHint: "Shortcuts are off while you type in a field. The address always holds the whole setup, so a copied link shows the same race.",
};
