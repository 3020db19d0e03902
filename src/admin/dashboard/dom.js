// A small render layer: views are functions that return descriptions of elements, and `render` brings the page to
// what they describe while keeping the elements (and with them focus, selection and scroll position) that stay.
//
// Nothing here parses HTML. A text is a text node, whatever stands in it; an address of a link is checked.

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "indeterminate"]);

/** Describes an element. Children may be nested lists; null, undefined, true and false are left out. */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, key: props?.key, children: flat(children, []) };
}

function flat(list, into) {
  for (const child of list) {
    if (child == null || child === false || child === true) continue;
    if (Array.isArray(child)) flat(child, into);
    else into.push(typeof child === "object" ? child : { text: String(child) });
  }
  return into;
}

/** An address from the API as a link, or as text when it is no web address. */
export function outside(address, ...label) {
  const isWeb = /^https?:\/\/[^\s]+$/i.test(address ?? "");
  const text = label.length > 0 ? label : [address];
  return isWeb ? h("a", { href: address, rel: "noreferrer noopener", target: "_blank" }, ...text) : h("span", null, ...text);
}

/** Makes the children of `root` what is described. */
export function render(root, ...nodes) {
  const next = flat(nodes, []);
  if (root.described === undefined) root.replaceChildren();
  children(root, root.described ?? [], next, root.namespaceURI === SVG);
  root.described = next;
}

function children(parent, old, next, isSvg) {
  const keyed = new Map();
  const loose = [];
  for (const node of old) {
    // a key that is there twice counts once, and nothing is left behind
    if (node.key !== undefined && !keyed.has(node.key)) keyed.set(node.key, node);
    else loose.push(node);
  }
  let at = 0;
  let place = parent.firstChild;
  for (const node of next) {
    let before;
    if (node.key !== undefined) {
      before = keyed.get(node.key);
      if (before && before.tag === node.tag) keyed.delete(node.key);
      else before = undefined;
    } else if (at < loose.length && loose[at].tag === node.tag && loose[at].key === undefined) {
      before = loose[at++];
    } else {
      const found = loose.findIndex((other, index) => index >= at && other.tag === node.tag && other.key === undefined);
      if (found >= 0) {
        before = loose[found];
        for (const gone of loose.slice(at, found)) place = drop(gone, place);
        at = found + 1;
      }
    }
    const element = before ? update(before, node, isSvg) : create(node, isSvg);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of [...keyed.values(), ...loose.slice(at)]) place = drop(gone, place);
}

function drop(node, place) {
  const next = node.element === place ? place.nextSibling : place;
  node.props?.gone?.(node.element);
  node.element.remove();
  return next;
}

function create(node, isSvg) {
  if (node.tag === undefined) {
    node.element = document.createTextNode(node.text);
    return node.element;
  }
  const inSvg = isSvg || node.tag === "svg";
  node.element = inSvg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  for (const [name, value] of Object.entries(node.props)) set(node.element, name, value, undefined);
  children(node.element, [], node.children, inSvg && node.tag !== "foreignObject");
  // the chosen option exists only now
  if (node.tag === "select") node.element.value = node.props.value ?? "";
  node.props.ref?.(node.element);
  return node.element;
}

function update(old, node, isSvg) {
  const element = (node.element = old.element);
  if (node.tag === undefined) {
    if (old.text !== node.text) element.data = node.text;
    return element;
  }
  for (const name of Object.keys(old.props)) {
    if (!(name in node.props)) set(element, name, undefined, old.props[name]);
  }
  const inSvg = isSvg || node.tag === "svg";
  children(element, old.children, node.children, inSvg && node.tag !== "foreignObject");
  for (const [name, value] of Object.entries(node.props)) set(element, name, value, old.props[name]);
  return element;
}

function set(element, name, value, old) {
  if (name === "key" || name === "ref" || name === "gone") return;
  if (name.startsWith("on")) {
    if (value !== old) element[name] = value ?? null;
  } else if (name === "style") {
    for (const property of Object.keys(old ?? {})) if (!(property in (value ?? {}))) element.style.removeProperty(property);
    for (const [property, text] of Object.entries(value ?? {})) {
      if (old?.[property] !== text) element.style.setProperty(property, String(text));
    }
  } else if (PROPERTIES.has(name) && element.localName !== "option") {
    if (element[name] !== (value ?? (name === "value" ? "" : false))) element[name] = value ?? (name === "value" ? "" : false);
  } else if (value === old) {
    return;
  } else if (value == null || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}
