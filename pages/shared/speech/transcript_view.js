// A recording and its lines: plays, follows, searches, and tells the page what somebody wants changed.
//
// data: bytes of JSON: { id, sound, film, seconds, peaks: [[low, high], …], lines, version, editable, again, growing, changed,
//   error, words }
// A line: [start, end, text, doubts, facts, words | null, other | null]; a word: [start, end, text]; facts are
// numbers in the order of words.facts, or null; doubts are keys of words.doubts.
// Sends "edit": { version, action, line, … }, and "listened": { version, action, lines }, those in doubt that were
// played. The lines are not changed here: the page sends the new ones.

const FOLLOW_AGAIN = 4000; // milliseconds after somebody scrolled
const LOOK_AGAIN = 200; // milliseconds until a video that is to come may be there
const ZOOM = 4, MOST_ZOOM = 256;
const NEAR = 0.1; // seconds by which a browser may begin or end beside a line

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".view");
  root.view ??= new View(root);
  root.view.update(JSON.parse(new TextDecoder().decode(data)), setTriggerValue);
}

const make = (tag, name, text = "") => {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  if (tag === "button") element.type = "button";
  return element;
};

const clock = (seconds, exact = false) => {
  const all = exact ? Math.round(seconds * 1000) / 1000 : Math.floor(seconds);
  const hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
  const rest = exact ? (all % 60).toFixed(3).padStart(6, "0") : String(all % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};

const seconds = (text) => {
  const parts = text.trim().replace("：", ":").split(":");
  const valid = parts.length <= 3 && parts.every((part) => /^\d{1,9}([.,]\d+)?$/.test(part));
  return valid ? parts.reduce((sum, part) => sum * 60 + Number(part.replace(",", ".")), 0) : NaN;
};

class View {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.audio = null; // or a video: what plays
    this.canvas = this.find("canvas");
    this.list = this.find(".lines");
    this.rows = []; // elements, each with its line and the text that tells it from others
    this.now = -1; // the row being played
    this.zoom = 1;
    this.hits = []; // what is found: elements in the texts of rows
    this.hit = -1;
    this.scrolled = 0;
    this.from = 0; // seconds since which everything was played
    this.listened = new Set(); // rows in doubt that were, which the page does not know yet
    this.listen();
  }

  listen() {
    this.follow(this.find("audio"));
    this.find(".play").onclick = () => this.toggle();
    this.find(".speed").onchange = (event) => { this.audio.playbackRate = Number(event.target.value); };
    this.find(".in").onclick = () => this.magnify(ZOOM);
    this.find(".out").onclick = () => this.magnify(1 / ZOOM);
    this.canvas.onpointerdown = (event) => {
      const frame = this.canvas.getBoundingClientRect();
      const [from, to] = this.shown();
      this.seek(from + ((event.clientX - frame.left) / frame.width) * (to - from));
    };
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    for (const happened of ["wheel", "touchmove"]) {
      this.list.addEventListener(happened, () => { this.scrolled = Date.now(); }, { passive: true });
    }
    this.list.onclick = (event) => this.clicked(event);
    this.list.ondblclick = (event) => this.edit(this.rowOf(event));
    this.list.onmouseover = (event) => this.spell(this.rowOf(event));
    this.root.onkeydown = (event) => this.key(event);
    this.find("input.search").oninput = () => this.search();
    this.find(".previous").onclick = () => this.step(-1);
    this.find(".next").onclick = () => this.step(1);
    this.find(".replace").onclick = () => this.tell("replace", {
      find: this.find("input.search").value, with: this.find(".with").value,
    });
    this.find(".undo").onclick = () => this.tell("undo");
  }

  // What is heard: the page's video where it shows one, which may come later than this, else the sound alone.
  choose() {
    const film = this.data.film ? document.querySelector(this.data.film) : null;
    this.follow(film && !film.error ? film : this.find("audio"));
    clearTimeout(this.waiting);
    if (this.data.film && !film && this.root.isConnected) this.waiting = setTimeout(() => this.choose(), LOOK_AGAIN);
  }

  follow(audio) {
    if (audio === this.audio) return;
    this.audio?.pause();
    this.audio = audio;
    this.from = audio.currentTime;
    audio.playbackRate = Number(this.find(".speed").value);
    audio.onplay = audio.onpause = () => {
      if (audio !== this.audio) return;
      this.find(".play").textContent = audio.paused ? "▶" : "❚❚";
      this.tick();
    };
    audio.ontimeupdate = audio.onseeked = audio.onended = () => { if (audio === this.audio) this.moved(); };
    audio.onseeking = () => { this.from = audio.currentTime; };
    audio.onerror = () => { if (this.data.film) this.choose(); };
  }

  update(data, send) {
    const first = !this.data;
    if (this.data?.version !== data.version) {
      this.close(); // refused changes stay open, to be corrected
      for (const row of this.rows) row.heard = false;
    }
    this.data = data;
    this.send = send;
    const { words } = data;
    const own = this.find("audio");
    if (data.sound && own.src !== new URL(data.sound, location).href) own.src = data.sound;
    this.choose();
    this.find(".player").hidden = !data.sound;
    this.find(".wave").hidden = !data.peaks.length;
    this.find(".finder").hidden = !data.lines.length && !data.changed;
    for (const name of ["with", "replace", "undo"]) this.find(`.${name}`).hidden = !data.editable;
    this.find(".undo").disabled = !data.changed;
    for (const name of ["play", "speed", "in", "out", "previous", "next", "undo"]) {
      this.find(`.${name}`).title = words[name];
      this.find(`.${name}`).setAttribute("aria-label", words[name]);
    }
    this.find(".error").textContent = data.error;
    this.find(".error").hidden = !data.error;
    this.canvas.setAttribute("aria-label", words.wave);
    this.find(".replace").textContent = words.replace;
    this.find(".undo").textContent = `↶ ${words.undo}`; // also of a line that was deleted
    this.find("input.search").placeholder = words.search;
    this.find(".with").placeholder = words.with;
    const atEnd = this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 20;
    this.put(data.lines);
    if (data.growing && atEnd && !first) this.list.scrollTop = this.list.scrollHeight;
    this.list.hidden = !data.lines.length;
    this.search(false);
    this.now = -1;
    this.moved();
  }

  // --- lines ---

  put(lines) {
    const marks = lines.map((line) => JSON.stringify(line) + this.data.editable);
    const old = this.rows;
    let head = 0, tail = 0;
    while (head < Math.min(old.length, marks.length) && old[head].mark === marks[head]) head++;
    while (tail < Math.min(old.length, marks.length) - head
      && old[old.length - 1 - tail].mark === marks[marks.length - 1 - tail]) tail++;
    for (const row of old.slice(head, old.length - tail)) row.remove();
    const fresh = lines.slice(head, lines.length - tail).map((line, at) => this.row(line, marks[head + at]));
    const after = tail ? old[old.length - tail] : null;
    const block = document.createDocumentFragment();
    block.append(...fresh);
    this.list.insertBefore(block, after);
    this.rows = [...old.slice(0, head), ...fresh, ...(tail ? old.slice(-tail) : [])];
    this.rows.forEach((row, at) => { row.at = at; row.line = lines[at]; });
  }

  row(line, mark) {
    const [start, , text, doubts, , , other] = line;
    const row = make("div", "line");
    row.setAttribute("role", "listitem");
    row.mark = mark;
    row.line = line;
    row.append(make("button", "time", clock(start)), make("div", "text", text));
    if (other !== null) {
      row.classList.add("two");
      row.append(make("div", "other", other));
    }
    const tools = make("div", "tools");
    if (doubts.length) {
      row.classList.add("doubtful");
      const sign = make("button", "doubt", "⚠");
      sign.title = this.reasons(doubts).join("\n");
      sign.setAttribute("aria-label", sign.title);
      sign.setAttribute("aria-expanded", "false");
      tools.append(sign);
    }
    if (this.data.editable) {
      const edit = make("button", "pen", "✎");
      edit.title = this.data.words.edit;
      edit.setAttribute("aria-label", this.data.words.edit);
      tools.append(edit);
    }
    row.append(tools);
    return row;
  }

  reasons(doubts) {
    return doubts.map((name) => this.data.words.doubts[name]);
  }

  // Why a line is in doubt, below it; again, and it is gone.
  explain(row) {
    const shown = row.querySelector(".why");
    if (shown) shown.remove();
    else row.append(make("div", "why", this.reasons(row.line[3]).join(" · ")));
    row.querySelector(".doubt").setAttribute("aria-expanded", String(!shown));
  }

  rowOf(event) {
    const row = event.target.closest(".line");
    return row && !event.target.closest(".editor") ? row : null;
  }

  clicked(event) {
    const row = this.rowOf(event);
    if (!row) return;
    if (event.target.closest(".pen")) { this.edit(row); return; }
    if (event.target.closest(".doubt")) { this.explain(row); return; }
    if (event.target.closest(".why")) return;
    if (String(this.root.getRootNode().getSelection?.() ?? getSelection())) return; // text is being marked
    const word = event.target.closest(".word");
    this.play(word ? Number(word.dataset.start) : row.line[0]);
  }

  // Words become elements of their own only where somebody is.
  spell(row) {
    const text = row?.querySelector(":scope > .text");
    if (!text || !row.line[5] || text.querySelector(".word") || text.querySelector("mark")) return;
    text.replaceChildren(...row.line[5].map(([start, end, said]) => {
      const word = make("span", "word", said);
      Object.assign(word.dataset, { start, end });
      return word;
    }));
  }

  // --- playing ---

  toggle() {
    this.choose();
    if (this.audio.paused) this.audio.play().catch(() => {}); else this.audio.pause();
  }

  seek(to) {
    this.audio.currentTime = Math.max(0, to);
    this.moved();
  }

  play(from) {
    if (!this.data.sound) return;
    this.scrolled = 0;
    this.choose();
    this.seek(from + 0.001);
    this.audio.play().catch(() => {}); // a sound that this browser cannot play
  }

  tick() {
    if (this.audio.paused || !this.root.isConnected) return;
    this.moved();
    requestAnimationFrame(() => this.tick());
  }

  moved() {
    const at = this.audio.currentTime;
    this.find(".clock").textContent = `${clock(at)} / ${clock(this.data.seconds)}`;
    let low = 0, high = this.rows.length; // the last line that starts before
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].line[0] <= at) low = middle + 1; else high = middle;
    }
    const started = at > 0 || !this.audio.paused;
    const now = started && low && this.rows[low - 1].line[1] > at ? low - 1 : -1;
    if (now !== this.now || this.audio.ended) this.heed(at);
    if (now !== this.now) {
      for (const row of this.list.querySelectorAll(".line.now")) row.classList.remove("now");
      this.now = now;
      const row = this.rows[now];
      row?.classList.add("now");
      if (row && !this.audio.paused && Date.now() - this.scrolled > FOLLOW_AGAIN) this.reveal(row);
    }
    this.spell(this.rows[now]);
    for (const word of this.list.querySelectorAll(".word")) {
      const { start, end } = word.dataset;
      word.classList.toggle("now", now >= 0 && this.rows[now].contains(word) && start <= at && at < end);
    }
    this.draw();
  }

  // A line in doubt that was played as a whole has been judged: the page takes its mark away.
  heed(at) {
    for (const row of this.rows) {
      const [start, end, , doubts] = row.line;
      const whole = start >= this.from - NEAR && end <= at + NEAR && end > this.from;
      if (!whole || !doubts.length || row.heard) continue;
      row.heard = true;
      this.listened.add(row);
    }
    this.tellListened();
  }

  // Not while a line is being edited, which would be drawn anew.
  tellListened() {
    const rows = [...this.listened].filter((row) => row.isConnected);
    if (!rows.length || !this.data.editable || this.list.querySelector(".editor")) return;
    this.listened.clear();
    this.send("listened", { version: this.data.version, action: "listened", lines: rows.map((row) => row.at) });
  }

  reveal(row) {
    const top = row.offsetTop - this.list.clientHeight / 3;
    this.list.scrollTo({ top, behavior: "smooth" });
  }

  // --- waveform ---

  magnify(times) {
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * times));
    this.draw();
  }

  shown() { // seconds
    const all = this.data.seconds, width = all / this.zoom;
    const from = Math.min(Math.max(0, this.audio.currentTime - width / 2), all - width);
    return [from, from + width];
  }

  draw() {
    const { canvas, data } = this;
    if (!data?.peaks.length || !canvas.clientWidth) return;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(this.root);
    const color = (name) => style.getPropertyValue(`--st-${name}`).trim();
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const [from, to] = this.shown();
    const x = (time) => ((time - from) / (to - from)) * width;
    this.rows.forEach((row, at) => {
      const [start, end, , doubts] = row.line;
      if (end < from || start > to) return;
      pen.fillStyle = doubts.length ? color("orange-color") || "#c77700" : color("primary-color");
      pen.globalAlpha = at === this.now ? 0.35 : at % 2 ? 0.1 : 0.18;
      pen.fillRect(x(start), 0, Math.max(1, x(end) - x(start)), height);
    });
    pen.globalAlpha = 1;
    pen.fillStyle = color("text-color");
    const loudest = this.loudest ??= Math.max(5, ...data.peaks.map(([low, high]) => Math.max(-low, high)));
    const count = data.peaks.length, middle = height / 2, scale = (height / 2 - 4) / loudest;
    for (let column = 0; column < width; column++) {
      const part = (offset) => ((from + ((column + offset) / width) * (to - from)) / data.seconds) * count;
      const begin = Math.floor(part(0)), end = Math.max(begin + 1, Math.floor(part(1)));
      let low = 0, high = 0;
      for (let at = begin; at < Math.min(end, count); at++) {
        low = Math.min(low, data.peaks[at][0]);
        high = Math.max(high, data.peaks[at][1]);
      }
      pen.fillRect(column, middle - high * scale, 1, Math.max(1, (high - low) * scale));
    }
    pen.fillStyle = color("red-color") || "#d33";
    pen.fillRect(x(this.audio.currentTime) - 1, 0, 2, height);
  }

  // --- searching ---

  search(jump = true) {
    const wanted = this.find("input.search").value.toLowerCase();
    const before = this.hit;
    this.point(-1);
    for (const mark of this.hits) {
      const row = mark.closest(".line");
      if (row) this.paint(row, "");
    }
    this.hits = [];
    for (const row of wanted ? this.rows : []) {
      if (row.line[2].toLowerCase().includes(wanted)) this.hits.push(...this.paint(row, wanted));
    }
    if (jump) this.step(1); else this.point(Math.min(before, this.hits.length - 1));
    this.count();
  }

  count() {
    const { hits, hit } = this;
    const none = !this.find("input.search").value;
    const [at, all] = [Math.max(hit, 0) + 1, hits.length];
    const said = all ? this.data.words.found : this.data.words.none;
    this.find(".found").textContent = none ? "" : said.replace("{at}", at).replace("{all}", all);
    for (const name of ["previous", "next", "replace"]) this.find(`.${name}`).disabled = !hits.length;
  }

  step(by) {
    if (!this.hits.length) return;
    const from = by < 0 ? Math.max(this.hit, 0) : this.hit;
    this.point((from + by + this.hits.length) % this.hits.length);
    this.scrolled = Date.now();
    this.reveal(this.hits[this.hit].closest(".line"));
    this.count();
  }

  point(hit) {
    for (const shown of this.list.querySelectorAll(".hit")) shown.classList.remove("hit");
    this.hit = hit;
    this.hits[hit]?.classList.add("hit");
    this.hits[hit]?.closest(".line").classList.add("hit");
  }

  // Mark what is wanted in a row; returns the marks.
  paint(row, wanted) {
    const text = row.querySelector(":scope > .text");
    const said = row.line[2], parts = [];
    let at = 0;
    for (let next; wanted && (next = said.toLowerCase().indexOf(wanted, at)) >= 0; at = next + wanted.length) {
      parts.push(said.slice(at, next), make("mark", "", said.slice(next, next + wanted.length)));
    }
    text.replaceChildren(...parts, said.slice(at));
    return parts.filter((part) => part.nodeType === Node.ELEMENT_NODE);
  }

  // --- editing ---

  tell(action, more = {}) {
    this.send("edit", { version: this.data.version, action, ...more });
  }

  edit(row) {
    if (!row || !this.data.editable || row.querySelector(".editor")) return;
    this.close();
    const { words } = this.data;
    const [start, end, said, doubts, facts] = row.line;
    const editor = make("div", "editor");
    const text = make("textarea", "");
    text.value = said;
    text.setAttribute("aria-label", words.text);
    const field = (name, time) => {
      const label = make("label", "", words[name]);
      const input = make("input", `at ${name}`);
      input.value = clock(time, true);
      label.append(input);
      return label;
    };
    const times = make("div", "bar");
    times.append(field("from", start), field("to", end));
    const actions = make("div", "bar");
    const button = (name, action, enabled = true) => {
      const made = make("button", name === "save" ? "main" : name, words[name]);
      made.disabled = !enabled;
      made.onclick = action;
      actions.append(made);
    };
    const tell = (action, more = {}) => this.change(row, action, more);
    button("save", () => tell("save"));
    button("cancel", () => this.close());
    button("split", () => {
      const before = text.value.slice(0, text.selectionStart);
      const lead = text.value.length - text.value.trimStart().length;
      // As it is stored: spaces count once.
      tell("split", { position: before.slice(lead).replace(/\s+/g, " ").length });
    });
    button("merge", () => tell("merge"), row.at + 1 < this.rows.length);
    button("again", () => this.tell("again", { line: row.at }), this.data.again);
    button("remove", () => this.tell("remove", { line: row.at }));
    editor.append(text, times, actions);
    const known = facts.flatMap((value, at) => (value === null ? [] : [words.facts[at] + value]));
    editor.append(make("div", "facts", [...this.reasons(doubts), ...known].join(" · ")));
    for (const child of row.children) child.hidden = true;
    row.append(editor);
    text.focus();
  }

  change(row, action, more) {
    const text = row.querySelector("textarea").value;
    const [start, end] = [".from", ".to"].map((name) => {
      const field = row.querySelector(name);
      const time = seconds(field.value);
      field.classList.toggle("wrong", Number.isNaN(time));
      return time;
    });
    if (Number.isNaN(start) || Number.isNaN(end)) return;
    this.tell(action, { line: row.at, text, start, end, ...more });
  }

  close() {
    const editor = this.list.querySelector(".editor");
    if (!editor) return;
    for (const child of editor.parentElement.children) child.hidden = false;
    editor.remove();
    this.tellListened();
  }

  key(event) {
    const editor = event.target.closest(".editor");
    if (editor) {
      if (event.key === "Escape") this.close();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) editor.querySelector(".main").click();
      event.stopPropagation(); // letters are shortcuts of the page
      return;
    }
    if (event.target.matches("input, select")) {
      if (event.key === "Enter" && event.target.type === "search") this.step(event.shiftKey ? -1 : 1);
      event.stopPropagation();
      return;
    }
    if (event.key === " " && !event.target.matches("button")) {
      event.preventDefault();
      this.toggle();
    }
  }
}
