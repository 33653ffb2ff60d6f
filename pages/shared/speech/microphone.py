"""The browser's half of live text: it records, shows how loud it is, and sends pieces until they are acknowledged.

A message is {run, first, pieces, over}: the recording's name, the number of its first piece, pieces of
a second (16-bit samples, mono at 16 kHz, as base64), and whether nothing follows. The answer is in
`data`: the run, how many of its pieces have arrived, and whether that was all.
"""

HTML = """
<div class="live">
  <div class="bar">
    <button class="start" type="button"></button>
    <button class="stop" type="button" disabled></button>
    <div class="meter" role="meter" aria-valuemin="0" aria-valuemax="100"><div class="level"></div></div>
    <span class="clock">0:00</span>
  </div>
  <div class="notice" role="alert"></div>
  <div class="text" aria-live="polite"><span class="final"></span><span class="tentative"></span></div>
</div>
"""
CSS = """
.live { font-family: var(--st-font); color: var(--st-text-color); }
.bar { display: flex; gap: .75rem; align-items: center; flex-wrap: wrap; }
button {
  font: inherit; padding: .35rem 1rem; border-radius: var(--st-button-radius); cursor: pointer;
  border: 1px solid var(--st-border-color); color: inherit; background: var(--st-background-color);
}
button.start:enabled {
  color: white; background: var(--st-primary-color); border-color: var(--st-primary-color);
}
button:disabled { opacity: .4; cursor: default; }
.meter {
  flex: 1; min-width: 6rem; height: .5rem; border-radius: .25rem; overflow: hidden;
  background: var(--st-secondary-background-color);
}
.level { height: 100%; width: 0; background: var(--st-primary-color); transition: width .1s; }
.clock { font-variant-numeric: tabular-nums; }
.notice:not(:empty) { margin-top: .75rem; color: var(--st-red-text-color, #b00); }
.text { margin-top: .75rem; line-height: 1.6; overflow-wrap: anywhere; }
.tentative { opacity: .5; }
"""
JS = """
const RATE = 16000;
const AT_ONCE = 10;  // pieces in a message
const RETRY = 3000;  // milliseconds after which a message is sent again
const PATIENCE = 1000;  // milliseconds that the last samples may take
// Asked for the rest, it answers with null behind its last samples.
const WORKLET = `registerProcessor("quintet-microphone", class extends AudioWorkletProcessor {
  constructor() { super(); this.port.onmessage = () => this.port.postMessage(null); }
  process([[samples]]) { if (samples) this.port.postMessage(samples.slice()); return true; }
});`;

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".live");
  root.microphone ??= microphone(root);
  root.microphone.update(data, setTriggerValue);
}

function microphone(root) {
  const part = (name) => root.querySelector("." + name);
  const [start, stop, meter, level, clock, notice] =
    ["start", "stop", "meter", "level", "clock", "notice"].map(part);
  let data, send;  // of the last update
  let run = "", queue = [], first = 0;  // `queue` starts with piece number `first`
  let recording = false;  // pieces may still come
  let over = true;  // all of them have arrived
  let sent = 0;  // when the message under way left; 0: none is
  let close = null;  // what Stop does, while there is something to stop

  const push = () => {
    if (run && !over && (!sent || Date.now() - sent > RETRY)) {
      const pieces = queue.slice(0, AT_ONCE);
      const last = !recording && pieces.length === queue.length;
      if (!pieces.length && !last) return;
      sent = Date.now();
      send("pieces", { run, first, pieces, over: last });
    }
  };
  const timer = () => setTimeout(() => { if (root.isConnected && run) { push(); if (!over) timer(); } }, 500);

  const draw = () => {
    start.textContent = data.labels.start;
    stop.textContent = data.labels.stop;
    start.disabled = !over || !data.ready;
    stop.disabled = !close;
    meter.setAttribute("aria-label", data.labels.level);
    if (!run || data.run === run) {
      part("final").textContent = data.text;
      part("tentative").textContent = data.tentative;
    }
  };

  const record = async () => {
    notice.textContent = "";
    if (!navigator.mediaDevices?.getUserMedia) { notice.textContent = data.labels.insecure; return; }
    run = `${Date.now()}.${Math.random()}`;
    queue = []; first = 0; sent = 0;
    recording = true; over = false;
    draw();
    let stream = null, input = null;
    try {
      input = await listener();
      stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
      part("final").textContent = part("tentative").textContent = "";
      let piece = new Int16Array(RATE), filled = 0, seconds = 0;
      const add = () => {
        const bytes = new Uint8Array(piece.buffer, 0, 2 * filled);
        queue.push(btoa(String.fromCharCode(...bytes)));
        filled = 0;
      };
      await input.listen(stream, (samples) => {
        if (!recording) return;
        if (!root.isConnected) close?.();  // another page is shown
        let power = 0;
        for (const value of samples) {
          power += value * value;
          piece[filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
          if (filled === RATE) { add(); push(); }
        }
        seconds += samples.length / RATE;
        const decibels = 10 * Math.log10(power / Math.max(1, samples.length) + 1e-10);
        const percent = Math.round(Math.max(0, Math.min(100, 100 + 1.6 * decibels)));
        level.style.width = `${percent}%`;
        meter.setAttribute("aria-valuenow", percent);
        clock.textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
      });
      close = async () => {
        close = null;
        draw();
        await input.stop();
        stream.getTracks().forEach((track) => track.stop());
        level.style.width = "0";
        if (filled) add();
        recording = false;
        push();
      };
      stream.getTracks().forEach((track) => { track.onended = () => close?.(); });
      timer();
    } catch (error) {
      input?.stop();
      stream?.getTracks().forEach((track) => track.stop());
      run = ""; recording = false; over = true;
      const reasons = { NotAllowedError: "denied", SecurityError: "insecure", NotFoundError: "missing" };
      notice.textContent = data.labels[reasons[error.name] ?? "failed"];
    }
    draw();
  };
  start.onclick = record;
  stop.onclick = () => close?.();

  return {
    update(newData, newSend) {
      data = newData; send = newSend;
      if (data.run === run) {
        if (data.acknowledged > first) {
          queue.splice(0, data.acknowledged - first);
          first = data.acknowledged;
          sent = 0;
        }
        if (data.stop) close?.();
        if (data.over && !recording) { queue = []; over = true; }
      }
      draw();
      push();
    },
  };
}

// Made before the microphone is open, so that the first word is heard. `listen` calls `take` with samples at
// RATE until `stop`, which waits for the last of them.
async function listener() {
  let { context, node } = await processor({ sampleRate: RATE });  // the browser resamples best
  let source;
  return {
    async listen(stream, take) {
      try {
        source = context.createMediaStreamSource(stream);
      } catch {  // or not at all
        context.close();
        ({ context, node } = await processor());
        source = context.createMediaStreamSource(stream);
      }
      const resample = resampler(context.sampleRate / RATE);
      node.take = (samples) => take(resample(samples));
      source.connect(node).connect(context.destination);  // silent, but without it nothing flows
      await context.resume();
    },
    async stop() {
      source?.disconnect();
      await node.rest();
      context.close();
    },
  };
}

// A context, and a node in it that gives its samples to its own `take`.
async function processor(options) {
  const context = new AudioContext(options);
  context.resume();
  if (context.audioWorklet) {
    const address = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    try {
      await context.audioWorklet.addModule(address);
      const node = new AudioWorkletNode(context, "quintet-microphone", { channelCount: 1, channelCountMode: "explicit" });
      node.port.onmessage = ({ data: samples }) => samples ? node.take(samples) : node.ended();
      node.rest = () => new Promise((ended) => {
        node.ended = ended;
        node.port.postMessage("rest");
        setTimeout(ended, PATIENCE);
      });
      return { context, node };
    } catch { /* a policy forbids modules from blobs: the older way works */
    } finally { URL.revokeObjectURL(address); }
  }
  const node = context.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = (event) => node.take(event.inputBuffer.getChannelData(0));
  node.rest = async () => {};
  return { context, node };
}

// One sample is the mean of those that fall into its time.
function resampler(step) {
  let position = 0, sum = 0, count = 0;
  return (samples) => {
    if (step === 1) return samples;
    const out = [];
    for (const value of samples) {
      sum += value; count += 1; position += 1;
      if (position >= step) { out.push(sum / count); position -= step; sum = 0; count = 0; }
    }
    return out;
  };
}
"""
