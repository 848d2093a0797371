"use strict";
{
  const facts = JSON.parse(document.currentScript.dataset.facts);
  const find = (id) => document.getElementById(id);
  const say = (text) => (find("status").textContent = text);
  const STOPPED = "The program does not answer: it may have been stopped.";
  const STEPS = { received: "waiting", reading: "reading the clip", predicting: "predicting" };
  const LOOK = 250; // milliseconds between two looks at the clips in work
  const LONGEST = 60; // seconds of a recording
  const SHOWN = 2; // remarks on a clip in the table
  const rows = new Map(); // by the number of the clip
  find("list").style.setProperty("--labels", facts.labels.length);

  function create(tag, attributes = {}, text = "") {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  }

  // The table

  function addRow(name) {
    const row = create("tr", { role: "row", "data-name": name });
    const title = create("th", { scope: "row", role: "rowheader" }, name);
    const end = create("td", { role: "cell" });
    const button = create("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
    button.addEventListener("click", () => remove(row));
    end.append(button);
    row.append(title, end);
    find("clips").append(row);
    find("list").hidden = false;
    return row;
  }

  function setCells(row, cells) {
    while (row.children.length > 2) row.children[1].remove();
    row.children[0].after(...cells);
  }

  function stateCell(row) {
    const known = row.querySelector(".state");
    if (known) return known;
    const cell = create("td", { role: "cell", class: "state", colspan: facts.labels.length });
    setCells(row, [cell]);
    return cell;
  }

  function setProgress(row, text, part) {
    const cell = stateCell(row);
    if (cell.dataset.text === text && part === undefined) return;
    cell.dataset.text = text;
    const bar = create("progress", { "aria-label": text });
    if (part !== undefined) bar.value = part;
    cell.replaceChildren(bar, text);
  }

  function fail(row, reason) {
    const cell = stateCell(row);
    cell.classList.add("failed");
    cell.textContent = reason;
    row.dataset.state = "failed";
    say(`${row.dataset.name}: ${reason}`);
  }

  function show(row, clip) {
    const [low, high] = facts.range;
    const cells = facts.labels.map((label) => {
      const value = clip.intensities[label];
      const cell = create("td", { role: "cell", class: "value", "data-label": label }, value.toFixed(3));
      cell.style.setProperty("--part", Math.min(1, Math.max(0, (value - low) / (high - low))));
      return cell;
    });
    setCells(row, cells);
    const link = create("a", { href: `clips/${clip.number}`, target: "page" }, clip.name);
    const remarks = clip.remarks.slice(0, SHOWN);
    if (clip.remarks.length > SHOWN) remarks.push(`${clip.remarks.length - SHOWN} more on its page`);
    row.children[0].replaceChildren(link, create("span", { class: "soft remarks" }, remarks.join("; ")));
    row.dataset.state = "done";
    say(`${clip.name} is done.`);
  }

  function update(row, clip) {
    if (["done", "failed"].includes(row.dataset.state)) return;
    if (clip.state === "done") show(row, clip);
    else if (clip.state === "failed") fail(row, clip.reason);
    else setProgress(row, STEPS[clip.state], clip.part ?? undefined);
  }

  function remove(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.request?.abort();
    row.remove();
    (next?.querySelector("button") ?? find("files")).focus();
    find("list").hidden = !find("clips").children.length;
    say(`${row.dataset.name} is removed.`);
    if (find("page").dataset.number === row.dataset.number) find("page").hidden = true;
    if (row.dataset.number) forget(row.dataset.number);
  }

  function forget(number) {
    rows.delete(number);
    fetch(`clips/${number}`, { method: "DELETE" }).catch(() => say(STOPPED));
  }

  // Looks at the clips in work until none is left; `all` also lists those that this page does not know yet.
  let timer = 0;
  async function watch(all = false) {
    clearTimeout(timer);
    let clips;
    try {
      clips = await (await fetch("clips")).json();
    } catch {
      return say(STOPPED);
    }
    for (const clip of clips) {
      if (all && !rows.has(clip.number)) enter(addRow(clip.name), clip);
      if (rows.has(clip.number)) update(rows.get(clip.number), clip);
    }
    if (clips.some((clip) => clip.state in STEPS)) timer = setTimeout(watch, LOOK);
  }

  function enter(row, clip) {
    rows.set(clip.number, row);
    Object.assign(row.dataset, { number: clip.number, name: clip.name });
    row.children[0].textContent = clip.name;
    row.querySelector("button").setAttribute("aria-label", `Remove ${clip.name}`);
  }

  // Sending: one clip after the other

  let sending = Promise.resolve();
  function add(name, content, words) {
    const row = addRow(name);
    if (content.size > facts.bytes) return fail(row, `larger than ${facts.megabytes} MB`);
    setProgress(row, "waiting to be sent");
    say(`${name} is added.`);
    sending = sending.then(() => send(row, name, content, words));
  }

  function send(row, name, content, words) {
    if (!row.isConnected) return undefined; // removed meanwhile
    return new Promise((resolve) => {
      const request = (row.request = new XMLHttpRequest());
      request.open("POST", `clips?${new URLSearchParams({ name, words })}`);
      request.responseType = "json";
      request.upload.addEventListener("progress", (event) => setProgress(row, "sending", event.loaded / event.total));
      request.addEventListener("loadend", () => {
        if (request.status === 201 && row.isConnected) enter(row, request.response);
        else if (request.status === 201) forget(request.response.number); // removed meanwhile
        else if (row.isConnected) fail(row, request.response?.error ?? STOPPED);
        row.request = undefined;
        watch();
        resolve();
      });
      request.send(content);
    });
  }

  function addFiles(files) {
    const words = find("words")?.value.trim() ?? "";
    if (words && files.length > 1) return say("The words are those of one clip: add it alone, or clear them.");
    for (const file of files) add(file.name, file, words);
    if (words && files.length) find("words").value = "";
    return undefined;
  }

  find("files").addEventListener("change", (event) => {
    addFiles([...event.target.files]);
    event.target.value = "";
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
      if (kind !== "drop") return;
      const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const files = items.filter((item) => !item.webkitGetAsEntry()?.isDirectory);
      addFiles(files.map((item) => item.getAsFile()));
      if (files.length < items.length) say("Folders are not read: drop the files that are in them.");
    });
  }

  // The page of a clip

  function fit() {
    const page = find("frame").contentDocument.documentElement;
    find("frame").style.height = `${Math.ceil(page.getBoundingClientRect().height) + 2}px`; // and its border
  }

  find("frame").addEventListener("load", () => {
    const number = find("frame").contentWindow.location.pathname.split("/").pop();
    if (!rows.has(number)) return; // the frame's first, empty page
    const name = rows.get(number).dataset.name;
    find("page").dataset.number = number;
    find("page-title").textContent = find("frame").title = `Page of ${name}`;
    for (const id of ["page-link", "page-save"]) find(id).href = `clips/${number}`;
    find("page-save").download = `${name}.html`;
    find("page").hidden = false;
    new ResizeObserver(fit).observe(find("frame").contentDocument.documentElement);
    find("page-title").focus({ preventScroll: true });
    find("page").scrollIntoView();
  });

  // Recording

  const REASONS = {
    NotAllowedError: "The browser does not allow it: allow camera and microphone for this page in its address bar.",
    NotFoundError: "There is no such device: connect one, or choose only the camera or only the microphone.",
    NotReadableError: "The device is in use by another program.",
  };
  const FORMATS = ["video/webm;codecs=vp8,opus", "video/webm", "video/mp4", "audio/webm", "audio/mp4"];
  let stream, recorder, clock, turningOn;
  let recordings = 0;

  async function turnOn() {
    const [camera, microphone] = ["with-camera", "with-microphone"].map((id) => find(id).checked);
    if (!camera && !microphone) return say("Choose the camera, the microphone or both.");
    if (!navigator.mediaDevices || !window.MediaRecorder) return say("This browser cannot record.");
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: camera && { width: { ideal: 640 }, height: { ideal: 480 } },
        // The voice as it is: what improves speech for telephony removes what the model hears.
        audio: microphone && { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch (error) {
      return say(REASONS[error.name] ?? `It cannot be used: ${error.message}`);
    }
    find("preview").srcObject = stream;
    find("preview").hidden = !camera;
    if (camera) await find("preview").play();
    for (const id of ["with-camera", "with-microphone"]) find(id).disabled = true;
    find("power").textContent = "Turn off";
    find("record").hidden = false;
    find("record").focus();
    return say("Ready to record.");
  }

  function turnOff() {
    if (recorder?.state === "recording") recorder.stop();
    for (const track of stream.getTracks()) track.stop();
    stream = find("preview").srcObject = undefined;
    find("preview").hidden = find("record").hidden = true;
    for (const id of ["with-camera", "with-microphone"]) find(id).disabled = false;
    find("power").textContent = "Turn on";
    say("Camera and microphone are off.");
  }

  function record() {
    const video = stream.getVideoTracks().length > 0;
    const mimeType = FORMATS.find((format) => format.startsWith(video ? "video" : "audio") && MediaRecorder.isTypeSupported(format));
    const parts = [];
    const words = find("words")?.value.trim() ?? "";
    recorder = new MediaRecorder(stream, { mimeType });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      clearInterval(clock);
      find("clock").textContent = "";
      find("record").textContent = "Record";
      find("record").classList.remove("recording");
      const type = recorder.mimeType.split(";")[0];
      const content = new Blob(parts, { type });
      const name = `recording ${(recordings += 1)}.${type.split("/")[1]}`;
      URL.revokeObjectURL(find("recording").href);
      Object.assign(find("recording"), { href: URL.createObjectURL(content), download: name, hidden: false });
      add(name, content, words);
      if (words) find("words").value = "";
    });
    recorder.start(1000);
    const began = performance.now();
    const tick = () => {
      const seconds = (performance.now() - began) / 1000;
      find("clock").textContent = `${seconds.toFixed(0)} of at most ${LONGEST} s`;
      if (seconds >= LONGEST && recorder.state === "recording") recorder.stop();
    };
    tick();
    clock = setInterval(tick, 200);
    find("record").textContent = "Stop";
    find("record").classList.add("recording");
    say("Recording.");
  }

  find("power").addEventListener("click", () => {
    if (stream) turnOff();
    else turningOn ??= turnOn().finally(() => (turningOn = undefined)); // the browser asks once
  });
  find("record").addEventListener("click", () => (recorder?.state === "recording" ? recorder.stop() : record()));

  watch(true);
}
