"use strict";
// Redoc over this gateway's own document, in fonts every machine has.
const fontFamily = "system-ui, sans-serif";

Redoc.init(
  "/openapi.json",
  {
    nativeScrollbars: true,
    showExtensions: true,
    theme: { typography: { fontFamily, headings: { fontFamily }, code: { fontFamily: "ui-monospace, monospace" } } },
  },
  document.getElementById("reference"),
);
