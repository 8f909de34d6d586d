// The only way elements are made here: properties and text nodes, never markup from strings.

export const byId = (id) => document.getElementById(id);

/** `props`: class, text, data (dataset), on (listeners); anything else is an attribute. */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "on") listen(element, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function listen(element, listeners) {
  for (const [type, call] of Object.entries(listeners)) element.addEventListener(type, call);
}

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Writes only what changed: a screen reader repeats a live region that is written again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes `parent` hold the elements of `items` in order. `nodes` maps keys to elements across calls,
 * so that elements stay (and keep focus and selection) as long as their key does.
 */
export function reconcile(parent, nodes, items, build, update) {
  const wanted = new Set(items.map((item) => item.key));
  for (const [key, node] of nodes) {
    if (wanted.has(key)) continue;
    node.remove();
    nodes.delete(key);
  }
  let cursor = parent.firstChild;
  for (const item of items) {
    let node = nodes.get(item.key);
    if (!node) {
      node = build(item);
      nodes.set(item.key, node);
    }
    update?.(node, item);
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
  }
}
