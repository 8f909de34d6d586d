// A classic script, run before the first paint: a chosen theme must not flash the other one.
(() => {
  let theme = "auto";
  try {
    theme = JSON.parse(localStorage.getItem("chat.theme")) ?? "auto";
  } catch {
    // Storage may be forbidden; the system's preference it is.
  }
  document.documentElement.dataset.theme = ["light", "dark"].includes(theme) ? theme : "auto";
})();
