// A classic script that runs first: it sets the theme before the first paint, and shows a card
// when the modules cannot run.
(function () {
  "use strict";
  var root = document.documentElement;
  try {
    var theme = localStorage.getItem("mixwell-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch (_) {
    // Storage may be denied; the system's theme is used.
  }

  // Some systems report an invalid language ("C", on a Linux without a locale), and the chart library
  // formats numbers with it.
  try {
    new Intl.NumberFormat(navigator.language);
  } catch (_) {
    Object.defineProperty(navigator, "language", { value: "en" });
  }

  var told = false;

  /** @param {string} message */
  function show(message) {
    told = true;
    // Once the application runs, it shows its own cards.
    if (root.dataset.started) return;
    var card = document.getElementById("fallback");
    if (!card) {
      document.addEventListener("DOMContentLoaded", function () {
        show(message);
      });
      return;
    }
    card.hidden = false;
    var text = document.getElementById("fallback-message");
    if (text) text.textContent = message;
    var stage = document.getElementById("stage");
    if (stage) stage.hidden = true;
  }

  // In the capture phase, because load errors of scripts and style sheets do not bubble.
  window.addEventListener(
    "error",
    function (event) {
      var target = event.target;
      if (target instanceof HTMLScriptElement) show("The file " + target.src + " did not load.");
      else if (event instanceof ErrorEvent) show(event.message + " (" + event.filename + ":" + event.lineno + ")");
    },
    true,
  );
  window.addEventListener("unhandledrejection", function (event) {
    show(String(event.reason));
  });
  if (!("noModule" in HTMLScriptElement.prototype)) show("This browser does not support JavaScript modules.");
  // A stalled connection raises no error. A reported error has a better message.
  setTimeout(function () {
    if (!told) show("Parts of the page have not arrived after 20 seconds.");
  }, 20000);
  document.addEventListener("click", function (event) {
    if (event.target instanceof Element && event.target.id === "fallback-reload") location.reload();
  });
})();
