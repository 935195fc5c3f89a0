// Draws the surfaces of every [data-mesh] figure with WebGL2, in parallel projection; without it the still picture stays.
"use strict";
(() => {
  const VERTEX = `#version 300 es
    in vec3 position, normal; uniform vec3 low, size, centre; uniform mat3 turn; uniform vec2 pan, scale;
    uniform float depth, lift;
    out vec3 towards;
    void main() {
      vec3 seen = turn * (low + position * size - centre);
      towards = turn * normal;
      gl_Position = vec4((seen.xy + pan) * scale, -(seen.z + lift) * depth, 1.0);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 towards; uniform vec3 colour; uniform float opacity; out vec4 pixel;
    const vec3 light = normalize(vec3(-0.35, 0.45, 0.82));
    void main() {
      vec3 n = normalize(towards);
      float gloss = 0.22 * pow(max(0.0, dot(n, normalize(light + vec3(0, 0, 1)))), 24.0);
      float alpha = 1.0 - pow(1.0 - opacity, 1.0 / max(n.z, 0.12));
      pixel = vec4((colour * (0.3 + 0.7 * max(0.0, dot(n, light))) + gloss) * alpha, alpha);
    }`;
  const VIEWS = {front: [0, 0], left: [-Math.PI / 2, 0], right: [Math.PI / 2, 0],
    back: [Math.PI, 0], above: [Math.PI, Math.PI / 2], below: [0, -Math.PI / 2]};
  const LETTERS = {R: [1, 0, 0], L: [-1, 0, 0], A: [0, 1, 0], P: [0, -1, 0], S: [0, 0, 1], I: [0, 0, -1]};
  const LIFT_MM = 1;  // what lies outside counts as so much nearer, or surfaces that touch would show through in flecks
  const BARS_MM = [1, 2, 5, 10, 20, 50, 100];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer;
  const add = (parent, tag, text = "", name = "") =>
    parent.appendChild(Object.assign(document.createElement(tag), {textContent: text, className: name}));

  function build(gl, data) {
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    const meshes = data.parts.map(part => {
      const array = gl.createVertexArray();
      gl.bindVertexArray(array);
      const fill = (target, text) => {
        gl.bindBuffer(target, gl.createBuffer());
        gl.bufferData(target, bytes(text), gl.STATIC_DRAW);
      };
      for (const [name, kind] of [["position", gl.UNSIGNED_SHORT], ["normal", gl.BYTE]]) {
        const place = gl.getAttribLocation(program, name);
        fill(gl.ARRAY_BUFFER, part[name + "s"]);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, 3, kind, true, 0, 0);
      }
      fill(gl.ELEMENT_ARRAY_BUFFER, part.triangles);
      return {array, count: part.count, kind: part.wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT};
    });
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    gl.enable(gl.BLEND);
    gl.depthFunc(gl.LEQUAL);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    return {meshes, at: name => gl.getUniformLocation(program, name)};
  }

  function start(figure) {
    const data = JSON.parse(document.getElementById(figure.dataset.mesh).textContent);
    const stage = document.createElement("div"), canvas = add(stage, "canvas");
    const gl = canvas.getContext("webgl2", {antialias: true, alpha: false});
    if (!gl) throw new Error("This browser has no WebGL2: a still picture instead.");
    let {meshes, at} = build(gl, data), waiting = false, yaw, pitch, zoom, pan;
    const size = data.high.map((high, axis) => high - data.low[axis]);
    const centre = data.low.map((low, axis) => low + size[axis] / 2), radius = Math.hypot(...size) / 2;
    const state = data.parts.map(part => ({shown: true, opacity: part.opacity}));
    const letters = Object.entries(LETTERS).map(([letter, way]) => [add(stage, "span", letter), way]);
    const bar = add(stage, "div", "", "mesh-bar");

    function draw() {
      waiting = false;
      const width = canvas.clientWidth, height = canvas.clientHeight, ratio = Math.min(2, devicePixelRatio || 1);
      if (!width || gl.isContextLost()) return;
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
      const perMm = zoom * Math.min(width, height) / (1.7 * radius), [s, c] = [Math.sin(yaw), Math.cos(yaw)];
      const eye = [s * Math.cos(pitch), c * Math.cos(pitch), Math.sin(pitch)], right = [-c, s, 0];
      const up = [-s * Math.sin(pitch), -c * Math.sin(pitch), Math.cos(pitch)];
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix3fv(at("turn"), false, [0, 1, 2].flatMap(axis => [right[axis], up[axis], eye[axis]]));
      for (const [name, value] of Object.entries({low: data.low, size, centre})) gl.uniform3fv(at(name), value);
      gl.uniform2fv(at("pan"), pan);
      gl.uniform2f(at("scale"), 2 * perMm / width, 2 * perMm / height);
      gl.uniform1f(at("depth"), 0.9 / (radius + LIFT_MM * data.parts.length));
      // Solid parts first; then from the inside out, of each only what is nearest.
      const order = data.parts.map((_, index) => index).reverse().filter(index => state[index].shown);
      for (const solid of [true, false]) for (const index of order) {
        if ((state[index].opacity >= 1) !== solid) continue;
        const hex = parseInt(data.parts[index].colour.slice(1), 16), mesh = meshes[index];
        gl.uniform3f(at("colour"), (hex >> 16) / 255, (hex >> 8 & 255) / 255, (hex & 255) / 255);
        gl.uniform1f(at("opacity"), state[index].opacity);
        gl.uniform1f(at("lift"), LIFT_MM * (data.parts.length - 1 - index));
        gl.bindVertexArray(mesh.array);
        for (const seen of solid ? [true] : [false, true]) {
          gl.colorMask(seen, seen, seen, seen);
          gl.drawElements(gl.TRIANGLES, mesh.count, mesh.kind, 0);
        }
      }
      for (const [span, way] of letters) {
        const reach = Math.abs(dot(way, size)) / 2 + 9, x = dot(way, right), y = dot(way, up);
        span.style.left = width / 2 + (x * reach + pan[0]) * perMm + "px";
        span.style.top = height / 2 - (y * reach + pan[1]) * perMm + "px";
        span.style.opacity = Math.hypot(x, y) < 0.3 ? 0 : 1;
      }
      const mm = BARS_MM.findLast(length => length * perMm < 0.22 * width) || BARS_MM[0];
      bar.style.width = mm * perMm + "px";
      bar.textContent = mm + " mm";
    }
    const redraw = () => { if (!waiting) waiting = requestAnimationFrame(draw); };
    const look = name => { [yaw, pitch] = VIEWS[name]; redraw(); };
    const reset = () => { zoom = 1; pan = [0, 0]; [yaw, pitch] = data.eye; redraw(); };
    const turn = (x, y) => { yaw += x; pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, pitch + y)); redraw(); };
    const nearer = factor => { zoom = Math.max(0.5, Math.min(12, zoom * factor)); redraw(); };
    function shift(x, y) {
      const perMm = zoom * Math.min(canvas.clientWidth, canvas.clientHeight) / (1.7 * radius);
      pan = [pan[0] + x / perMm, pan[1] - y / perMm];
      redraw();
    }

    const fingers = new Map();
    canvas.onpointerdown = event => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, event); };
    canvas.onpointerup = canvas.onpointercancel = event => fingers.delete(event.pointerId);
    canvas.onpointermove = event => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
      const other = [...fingers.values()].find(finger => finger.pointerId !== event.pointerId);
      fingers.set(event.pointerId, event);
      if (other) {
        const apart = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
        nearer(apart(event) / apart(before));
        shift(x / 2, y / 2);
      } else if (event.shiftKey || event.buttons & 6) shift(x, y);
      else turn(x / 120, y / 120);
    };
    canvas.oncontextmenu = event => event.preventDefault();
    canvas.addEventListener("wheel", event => {  // a page must scroll past: the wheel is the viewer's once it was clicked
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      nearer(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) / 600));
    }, {passive: false});
    const keys = {ArrowLeft: () => turn(-0.1, 0), ArrowRight: () => turn(0.1, 0), ArrowUp: () => turn(0, -0.1),
      ArrowDown: () => turn(0, 0.1), "+": () => nearer(1.15), "-": () => nearer(1 / 1.15), "0": reset};
    canvas.onkeydown = event => { if (keys[event.key]) { event.preventDefault(); keys[event.key](); } };
    canvas.ondblclick = reset;
    canvas.addEventListener("webglcontextlost", event => { event.preventDefault(); figure.classList.remove("mesh-live"); });
    canvas.addEventListener("webglcontextrestored", () => {
      ({meshes, at} = build(gl, data));
      figure.classList.add("mesh-live");
      redraw();
    });

    const panel = document.createElement("div"), views = add(panel, "p", "", "mesh-views");
    for (const [name, act] of [...Object.keys(VIEWS).map(name => [name, () => look(name)]), ["reset", reset]]) {
      Object.assign(add(views, "button", name), {type: "button", onclick: act});
    }
    data.parts.forEach((part, index) => {
      const row = add(panel, "p", "", "mesh-part"), label = add(row, "label");
      const box = Object.assign(add(label, "input"), {type: "checkbox", checked: true});
      box.onchange = () => { state[index].shown = box.checked; redraw(); };
      add(label, "i").style.background = part.colour;
      label.append(`${part.title}  ${part.volume}`);
      const slider = Object.assign(add(row, "input"), {type: "range", min: 0.05, max: 1, step: 0.01});
      slider.value = part.opacity;
      slider.setAttribute("aria-label", `Opacity of ${part.title}`);
      slider.oninput = () => { state[index].opacity = Number(slider.value); redraw(); };
    });
    stage.className = "mesh-stage";
    panel.className = "mesh-panel";
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", figure.querySelector("img").alt);
    figure.prepend(stage, panel);
    figure.classList.add("mesh-live");
    new ResizeObserver(redraw).observe(canvas);
    reset();
  }

  for (const figure of document.querySelectorAll("[data-mesh]")) {
    try {
      start(figure);
    } catch (error) {
      figure.querySelector("figcaption").textContent = error.message;
    }
  }
})();
