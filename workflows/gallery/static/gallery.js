"use strict";
/* The gallery's only script. Data are scripts as well, since a page opened as a file may load nothing else:
   data/meta.js is the head, data/index-N.js the columns for filters and sorting, data/items-N.js the contents of tiles,
   loaded when they become visible. Texts of queries are only set as text, never as HTML. */

const gallery = (() => {
  const PER_PAGE = 48, LINES = 4;
  const at = (id) => document.getElementById(id);
  const made = (name, properties = {}, ...children) => {
    const one = Object.assign(document.createElement(name), properties);
    one.append(...children);
    return one;
  };
  let head = null, shown = [], loaded = 0, page = 0, timer = 0, enlarged = 0;
  const columns = {}, items = new Map(), waiting = new Map(), controls = new Map();
  const CHOICES = ["kind", "split", "category", "relation", "reason"];
  const RANGES = ["count", "score", "clip", "iou", "confidence"];
  const NAMES = { kind: "Kind", split: "Split", category: "Category", relation: "Relation", reason: "Rejected because",
    count: "Objects of the category", score: "Detection score", clip: "CLIP score", iou: "IoU",
    confidence: "Confidence" };

  function script(path) {
    return new Promise((resolve, reject) => {
      const one = made("script", { src: path, onload: resolve, onerror: () => reject(new Error(path)) });
      document.head.append(one);
    });
  }

  /* Functions that data scripts call. */
  function meta(given) {
    head = given;
    document.title = head.title;
    at("title").textContent = head.title;
    buildFilters();
    fromAddress();
    if (isPlain()) { shown = Array.from({ length: head.total }, (_, i) => i); draw(); }
    loadIndex();
  }
  function index(number, given) {
    for (const [name, values] of Object.entries(given)) {
      const column = (columns[name] ??= new Array(head.total));
      for (let i = 0; i < values.length; i++) column[number * head.perIndex + i] = values[i];
    }
  }
  function fill(number, given) { items.set(number, given); }

  async function loadIndex() {
    for (let number = 0; number * head.perIndex < head.total; number++) {
      await script(`data/index-${number}.js`);
      loaded = Math.min(head.total, (number + 1) * head.perIndex);
      if (loaded < head.total) at("matches").textContent = `${loaded.toLocaleString()} of ${head.total.toLocaleString()} read`;
    }
    choose(false);
  }

  /* Filters. */
  function buildFilters() {
    const form = at("filters");
    for (const name of CHOICES) {
      const words = head.words[name];
      if (words.length < 2 && name !== "reason") continue;
      if (!words.length) continue;
      const select = made("select", { id: name, onchange: changed }, made("option", { value: "", textContent: "any" }));
      words.forEach((word, i) => select.append(made("option", { value: i, textContent: word || "none" })));
      form.append(made("label", { textContent: NAMES[name] + " " }, select));
      controls.set(name, select);
    }
    for (const name of RANGES) {
      const range = head.ranges[name];
      if (!range) continue;
      const pair = [0, 1].map((i) => made("input", { type: "number", step: name === "count" ? 1 : "any", oninput: typed,
        id: `${name}-${i ? "max" : "min"}`, placeholder: +range[i].toFixed(2), ariaLabel: `${NAMES[name]}, ${i ? "at most" : "at least"}` }));
      form.append(made("label", { textContent: NAMES[name] + " " }, made("span", { className: "range" }, ...pair)));
      controls.set(name, pair);
    }
    const sort = made("select", { id: "sort", onchange: changed });
    const ways = [["", "as stored"]];
    for (const name of RANGES) if (head.ranges[name])
      ways.push([name, `${NAMES[name]}, lowest first`], [`-${name}`, `${NAMES[name]}, highest first`]);
    for (const [value, textContent] of ways) sort.append(made("option", { value, textContent }));
    form.append(made("label", { textContent: "Order " }, sort));
    controls.set("sort", sort);
    form.append(made("button", { type: "button", id: "clear", textContent: "Clear", onclick: clear }));
  }
  function wanted() {
    const found = { text: at("text").value.trim().toLowerCase(), sort: controls.get("sort").value };
    for (const name of CHOICES) found[name] = controls.has(name) && controls.get(name).value !== "" ? +controls.get(name).value : null;
    for (const name of RANGES) {
      const pair = controls.get(name) ?? [];
      found[name] = pair.map((input) => (input.value === "" ? null : +input.value));
    }
    return found;
  }
  function isPlain() {
    const w = wanted();
    return !w.text && !w.sort && CHOICES.every((n) => w[n] === null) && RANGES.every((n) => w[n].every((v) => v === null));
  }
  function choose(toFirst = true) {
    const w = wanted(), words = w.text.split(/\s+/).filter(Boolean), found = [];
    const choices = CHOICES.filter((name) => w[name] !== null);
    const ranges = RANGES.filter((name) => w[name].some((value) => value !== null));
    every: for (let i = 0; i < loaded; i++) {
      for (const name of choices) {
        const value = columns[name][i];
        if (Array.isArray(value) ? !value.includes(w[name]) : value !== w[name]) continue every;
      }
      for (const name of ranges) {
        const value = columns[name][i], [min, max] = w[name];
        if (value === null || (min !== null && value < min) || (max !== null && value > max)) continue every;
      }
      for (const word of words) if (!columns.text[i].includes(word)) continue every;
      found.push(i);
    }
    if (w.sort) {
      const column = columns[w.sort.replace("-", "")], sign = w.sort[0] === "-" ? -1 : 1;
      const last = sign * Infinity;  // entries without a value come last
      found.sort((a, b) => sign * ((column[a] ?? last) - (column[b] ?? last)) || a - b);
    }
    shown = found;
    if (toFirst) page = 0;
    draw();
  }
  function changed() { choose(); }
  function typed() { clearTimeout(timer); timer = setTimeout(choose, 120); }
  function clearControls() {
    at("text").value = "";
    page = 0;
    for (const control of controls.values()) for (const one of [control].flat()) one.value = "";
  }
  function clear() { clearControls(); choose(); }

  /* The address holds the page's state, so that you can share it. */
  function toAddress() {
    const state = new URLSearchParams();
    if (at("text").value) state.set("text", at("text").value);
    for (const control of controls.values())
      for (const one of [control].flat()) if (one.value !== "") state.set(one.id, one.value);
    if (page) state.set("page", page + 1);
    history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
  }
  function fromAddress() {
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      const one = name === "page" ? null : at(name);
      if (one && "value" in one) one.value = value;
      if (name === "page") page = Math.max(0, (parseInt(value) || 1) - 1);
    }
  }

  /* Tiles. */
  function numPages() { return Math.max(1, Math.ceil(shown.length / PER_PAGE)); }
  function draw() {
    page = Math.min(page, numPages() - 1);
    const some = shown.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
    at("grid").replaceChildren(...(some.length ? some.map((i, place) => tile(i, place)) : [made("p", {
      textContent: loaded < head.total ? "loading …" : "No image matches these filters; press Clear." })]));
    at("page").value = page + 1;
    at("page").max = numPages();
    at("pages").textContent = `of ${numPages().toLocaleString()}`;
    at("previous").disabled = page === 0;
    at("next").disabled = page === numPages() - 1;
    at("matches").textContent = `${shown.length.toLocaleString()} of ${head.total.toLocaleString()}`;
    toAddress();
  }
  async function item(i) {
    const number = Math.floor(i / head.perFile);
    if (!items.has(number)) {
      if (!waiting.has(number)) waiting.set(number, script(`data/items-${number}.js`));
      await waiting.get(number);
    }
    return items.get(number)[i % head.perFile];
  }
  function tile(i, place) {
    const article = made("article", { ariaLabel: "loading" });
    item(i).then((one) => dress(article, one, LINES, place)).catch((error) => { article.textContent = `${error.message} is missing`; });
    return article;
  }
  function dress(article, one, maxLines, place) {
    const image = made("div", { className: "image" });
    image.append(made("img", { src: one.image, alt: one.key, width: one.size[0], height: one.size[1], loading: "lazy" }));
    const marks = one.marks.map(([x1, y1, x2, y2, role, label]) => {
      const mark = made("div", { className: `mark ${role}` });
      Object.assign(mark.style, { left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%` });
      if (label && maxLines === Infinity) mark.append(made("b", { textContent: label }));
      return mark;
    });
    image.append(...marks);
    if (maxLines === Infinity)  // as wide as the image that fits, since marks are percents of this element
      image.style.width = `min(100%, calc(64vh * ${one.size[0] / one.size[1]}))`;
    const lines = one.lines.slice(0, maxLines).map(([text, note, meant]) => line(article, marks, text, note, meant));
    if (one.lines.length > maxLines)
      lines.push(made("li", { textContent: `and ${one.lines.length - maxLines} more`, onclick: () => enlarge(one, place) }));
    article.ariaLabel = `${one.facts}: ${one.lines[0]?.[0] ?? one.key}`;
    article.replaceChildren(image, made("p", { className: "facts", textContent: one.facts }), made("ul", {}, ...lines));
    if (maxLines !== Infinity) {
      image.tabIndex = 0;
      image.role = "button";
      image.ariaLabel = `Enlarge ${one.key}`;
      image.onclick = () => enlarge(one, place);
      image.onkeydown = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); enlarge(one, place); } };
    }
  }
  function line(article, marks, text, note, meant) {
    const one = made("li", { textContent: text });
    if (note) one.append(made("small", { textContent: note }));
    if (!meant.length) return one;
    const point = (isOn) => {
      for (const other of article.querySelectorAll("li.on")) other.classList.remove("on");
      marks.forEach((mark, i) => mark.classList.toggle("on", isOn && meant.includes(i)));
      article.classList.toggle("chosen", isOn);
      one.classList.toggle("on", isOn);
    };
    one.tabIndex = 0;
    one.onmouseenter = one.onfocus = () => point(true);
    one.onmouseleave = one.onblur = () => point(false);
    one.onclick = () => point(true);
    return one;
  }
  function enlarge(one, place) {
    const large = at("large"), article = made("article");
    enlarged = place;
    dress(article, one, Infinity);
    large.replaceChildren(made("button", { type: "button", textContent: "Close", onclick: () => large.close() }), article);
    if (!large.open) large.showModal();
  }
  async function enlargeNext(by) {
    const place = enlarged + by, i = shown[page * PER_PAGE + place];
    if (place >= 0 && place < PER_PAGE && i !== undefined) enlarge(await item(i), place);
  }

  /* Pages, keys, dark and light. */
  function turn(by) { page = Math.max(0, Math.min(numPages() - 1, page + by)); draw(); scrollTo(0, 0); }
  function theme() {
    const root = document.documentElement;
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a file may be denied its storage */ }
  }
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* as above */ }
  document.documentElement.dataset.theme = kept ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  at("theme").onclick = theme;
  at("previous").onclick = () => turn(-1);
  at("next").onclick = () => turn(1);
  at("page").onchange = () => { page = Math.max(0, (parseInt(at("page").value) || 1) - 1); draw(); };
  at("text").oninput = typed;
  at("filters").onsubmit = (event) => event.preventDefault();
  at("help").onclick = () => {
    at("keys").hidden = !at("keys").hidden;
    at("help").ariaExpanded = String(!at("keys").hidden);
  };
  addEventListener("hashchange", () => { clearControls(); fromAddress(); choose(false); });  // a link that you pasted
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "Escape" && event.target === at("text")) { at("text").value = ""; choose(); at("text").blur(); }
    if (at("large").open && event.key === "ArrowLeft") enlargeNext(-1);
    if (at("large").open && event.key === "ArrowRight") enlargeNext(1);
    if (at("large").open || event.target.closest("input, select, textarea")) return;
    if (event.key === "/") { event.preventDefault(); at("text").focus(); }
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
    if (event.key === "d") theme();
  });

  return { meta, index, fill };
})();
