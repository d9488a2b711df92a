// The page of the Playground. Its text is in page.html, beside this file.

/** @type {import("../ui/page.js").Page} */
export default {
  file: "playground.html",
  links: [
    { text: "Playground", href: "./playground.html" },
  ],
  title: "the playground",
  description: "MCMC in the plane: energy surfaces, chains, and every number that shows whether they mix. Samplers side by side at equal gradients, computed on your machine.",
  bodyClass: "playground",
  styles: ["playground/playground.css"],
  skip: { to: "room", text: "Skip to the playground" },
  computed: "The chains are computed on your own machine, by WebAssembly in a worker.",
  readable: "glossary",
  footer: "Everything is computed on your machine. Nothing you do here is sent anywhere.",
  keys: [
    ["<kbd>Space</kbd>", "Play or pause"],
    ["<kbd>.</kbd> or <kbd>→</kbd>", "One transition forward"],
    ["<kbd>←</kbd>", "One transition back"],
    ["<kbd>r</kbd>", "Reset: same seed, same start"],
    ["<kbd>n</kbd>", "New seed"],
    ["<kbd>[</kbd> and <kbd>]</kbd>", "Slower, faster"],
    ["<kbd>c</kbd>", "Choose the next chain"],
    ["<kbd>p</kbd>", "Show the path of its last transition"],
    ["<kbd>s</kbd>", "Open or close the settings"],
    ["<kbd>?</kbd>", "This list"],
  ],
  keysHint: "Shortcuts are off while you type in a field. The address always holds the whole setup.",
};
