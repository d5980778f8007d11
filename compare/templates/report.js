// What a reader may do on the page: sort and filter tables, and choose arms and measures in two figures side
// by side. Everything essential is on the page without it.
"use strict";
(() => {
  const MINUS = "\u2212";
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const signed = (value, digits = 3) =>
    value === null ? "\u2013" : (value > 0 ? "+" : value < 0 ? MINUS : "") + Math.abs(value).toFixed(digits);

  // --- tables: a button in each heading sorts, a field above filters

  const worth = (cell) => {
    const text = cell.textContent.trim().replaceAll(MINUS, "-").replaceAll(",", "");
    const number = parseFloat(text);
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;

  function sortBy(table, column, heading) {
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [worth(row.cells[column]), row]);
    rows.sort((one, other) => compare(one[0], other[0]) * (up ? 1 : -1));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  function browse(table) {
    const count = element("output", { className: "soft" });
    const field = element("input", { type: "search", placeholder: "token, feature, arm \u2026" });
    const picks = [];
    const refresh = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden =
          !words.every((word) => text.includes(word)) ||
          !picks.every(([column, pick]) => !pick.value || row.cells[column].textContent === pick.value);
        shown += !row.hidden;
      }
      count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
    };
    const tools = element("p", { className: "tools" }, element("label", {}, "Filter ", field));
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = element("button", { type: "button", title: "Sort" }, ...heading.childNodes);
      button.addEventListener("click", () => sortBy(table, column, heading));
      heading.append(button);
      if (!("pick" in heading.dataset)) return;
      const values = new Set([...table.tBodies[0].rows].map((row) => row.cells[column].textContent));
      const pick = element("select", {}, element("option", { value: "" }, "all"));
      pick.append(...[...values].map((value) => element("option", { value }, value)));
      pick.dataset.column = heading.dataset.pick;
      pick.addEventListener("change", refresh);
      picks.push([column, pick]);
      tools.append(element("label", {}, ` ${heading.dataset.pick} `, pick));
    });
    field.addEventListener("input", refresh);
    tools.append(" ", count);
    table.closest(".wide").before(tools);
    refresh();
  }
  document.querySelectorAll("table.browse").forEach(browse);

  // --- two figures side by side

  const explorer = document.getElementById("explorer");
  if (!explorer || !window.Plotly) return;
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const [view, measures, left, right] = ["view", "measures", "left", "right"].map((id) =>
    document.getElementById(`explorer-${id}`)
  );
  const panels = [document.getElementById("panel-left"), document.getElementById("panel-right")];
  const told = document.getElementById("explorer-told");
  const arm = (select) => data.arms[Number(select.value)];
  const controls = (one) => data.arms.filter((other) => other.control_of === one.name);
  const SYMBOLS = ["diamond-open", "circle-open", "triangle-up-open", "square-open", "pentagon-open", "star-open"];
  const GROUPS = { toy: ["circle", "--toy"], real: ["square", "--real"], control: ["diamond-open", "--soft"] };
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const PLOT = 390, LINE = 19; // pixels: height of the axes, of a line of the legend
  function layout(title, more, lines) {
    const axis = (own) => ({
      gridcolor: ink("--line"), zerolinecolor: ink("--ink"), linecolor: ink("--line"), automargin: true, ...own,
    });
    const { xaxis, yaxis, ...rest } = more;
    return {
      title: { text: title, font: { size: 14 } },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink("--ink"), family: "system-ui, sans-serif", size: 12 },
      hoverlabel: { bgcolor: ink("--card"), bordercolor: ink("--line"), font: { color: ink("--ink") } },
      margin: { l: 50, r: 10, t: 36, b: 60 + LINE * lines }, height: 96 + PLOT + LINE * lines, hovermode: "closest",
      legend: { orientation: "v", x: 0, y: -54 / PLOT, yanchor: "top" },
      showlegend: view.value !== "map", xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
    };
  }
  const errors = (values, low, high) => ({
    type: "data", symmetric: false, thickness: 1.3,
    array: values.map((value, k) => (high[k] === null ? 0 : high[k] - value)),
    arrayminus: values.map((value, k) => (low[k] === null ? 0 : value - low[k])),
  });
  const mark = (one, rank) => ({
    symbol: one.group === "control" ? SYMBOLS[rank % SYMBOLS.length] : GROUPS[one.group][0],
    color: ink(GROUPS[one.group][1]), size: 9,
  });
  const reach = (arms, key, low, high) =>
    1.08 * Math.max(...arms.flatMap((one) => [...one[key][low], ...one[key][high]]).map(Math.abs), 1e-6);

  const VIEWS = {
    map(one, both) {
      const { map } = one;
      const range = (low, high) => [
        Math.min(...both.flatMap((other) => other.map[low])), Math.max(...both.flatMap((other) => other.map[high])),
      ];
      const middle = (low, high) => map[low].map((value, k) => (value + map[high][k]) / 2);
      const shapes = map.colour.map((fillcolor, k) => ({
        type: "rect", x0: map.x_low[k], x1: map.x_high[k], y0: map.y_low[k], y1: map.y_high[k],
        fillcolor, line: { width: 0 }, layer: "below",
      }));
      const trace = {
        x: middle("x_low", "x_high"), y: middle("y_low", "y_high"), mode: "markers", type: "scatter",
        marker: { size: 14, opacity: 0 }, customdata: map.mean.map((_, k) => k),
        text: map.mean.map((mean, k) => `mean cosine ${signed(mean)}<br>${map.count[k].toLocaleString("en")} pairs`),
        hovertemplate: "%{text}<br>co-occurrence %{x:.3f}<br>similarity %{y:.3f}<extra></extra>",
      };
      return [[trace], {
        shapes, xaxis: { title: { text: map.x_label }, range: range("x_low", "x_high"), zeroline: false },
        yaxis: { title: { text: map.y_label }, range: range("y_low", "y_high"), zeroline: false },
      }];
    },
    cells(one, both) {
      const all = [one, ...controls(one)];
      const wide = reach(both.flatMap((other) => [other, ...controls(other)]), "cells", "low", "high");
      const names = data.cells.map((cell) => `${cell.name.replace(", ", ",<br>")}<br>claim ${cell.claim}`);
      const margin = Math.max(...one.cells.margin);
      const claimed = { "< 0": [-wide, 0], "> 0": [0, wide], "= 0": [-margin, margin] };
      const shapes = data.cells.map((cell, k) => ({
        type: "rect", x0: claimed[cell.claim][0], x1: claimed[cell.claim][1], y0: k - 0.42, y1: k + 0.42,
        fillcolor: ink("--soft"), opacity: 0.15, line: { width: 0 }, layer: "below",
      }));
      const traces = all.map((other, rank) => ({
        name: other.name, type: "scatter", mode: "markers", marker: mark(other, rank),
        x: other.cells.mean, y: names.map((_, k) => k + (rank - (all.length - 1) / 2) * 0.13),
        error_x: errors(other.cells.mean, other.cells.low, other.cells.high), customdata: names.map((_, k) => k),
        text: other.cells.mean.map((mean, k) =>
          `${data.cells[k].name}<br>${signed(mean)} [${signed(other.cells.low[k])}, ${signed(other.cells.high[k])}]` +
          `<br>${other.cells.n_pairs[k].toLocaleString("en")} pairs`),
        hovertemplate: `%{text}<extra>${other.name}</extra>`,
      }));
      return [traces, {
        shapes, xaxis: { title: { text: "mean cosine, 95 % interval" }, range: [-wide, wide] },
        yaxis: { tickvals: names.map((_, k) => k), ticktext: names, range: [5.5, -0.5], zeroline: false },
      }];
    },
    cosines(one) {
      const lines = [
        ["random directions", one.cosines.null_density, ink("--soft"), "dot"],
        ["random, same second moment", one.cosines.matched_density, ink("--ink"), "dash"],
        ["measured", one.cosines.density, ink(GROUPS[one.group][1]), "solid"],
      ];
      const floor = Math.min(...data.arms.flatMap((other) => other.cosines.density).filter((value) => value > 0));
      const most = Math.max(...data.arms.flatMap((other) => other.cosines.density));
      const traces = lines.map(([name, density, color, dash]) => ({
        name, type: "scatter", mode: "lines", x: one.cosines.low, y: density.map((value) => value || null),
        line: { color, dash, width: dash === "solid" ? 2 : 1.4, shape: "hv" },
        hovertemplate: `cosine %{x:.2f}<br>density %{y:.3g}<extra>${name}</extra>`,
      }));
      return [traces, {
        xaxis: { title: { text: "cosine" }, range: [-1, 1] },
        yaxis: {
          title: { text: "density of pairs (log)" }, type: "log",
          range: [Math.log10(floor / 2), Math.log10(most * 2)],
        },
      }];
    },
    slopes(one, both) {
      const asked = (other) => other.slopes[measures.value];
      const all = [one, ...controls(one)].filter(asked);
      const ends = both.flatMap((other) => [other, ...controls(other)]).filter(asked);
      const wide = 1.08 * Math.max(...ends.flatMap((other) => [...asked(other).low, ...asked(other).high]).map(Math.abs));
      const rows = asked(one) ? asked(one).term.map((term, k) => `${term} \u00b7 ${asked(one).effects[k]}`) : [];
      const traces = all.map((other, rank) => ({
        name: other.name, type: "scatter", mode: "markers", marker: mark(other, rank), x: asked(other).estimate,
        y: asked(other).term.map((_, k) => k + (rank - (all.length - 1) / 2) * 0.16),
        error_x: errors(asked(other).estimate, asked(other).low, asked(other).high),
        text: rows, hovertemplate: `%{text}<br>%{x:.4f}<extra>${other.name}</extra>`,
      }));
      return [traces, {
        xaxis: { title: { text: "cosine per unit, 95 % interval" }, range: [-wide, wide] },
        yaxis: { tickvals: rows.map((_, k) => k), ticktext: rows, range: [rows.length - 0.5, -0.5], zeroline: false },
      }];
    },
  };

  // --- the pairs behind what is pointed at

  const pairRows = [...document.querySelectorAll("#examples-table tbody tr")];
  function tell(one, belongs, what) {
    const found = pairRows.filter((row) => row.dataset.arm === one.name && belongs(row.dataset));
    told.replaceChildren(
      element("p", {}, element("strong", {}, `${one.name}, ${what}: `),
        found.length ? "some of its pairs" : "none of the listed pairs lies here")
    );
    const heading = document.querySelector("#examples-table thead");
    if (!found.length || !heading) return;
    const names = element("tr", {}, ...[...heading.rows[0].cells].map((cell) =>
      element("th", { className: cell.className }, cell.textContent)));
    const body = element("tbody", {}, ...found.slice(0, 12).map((row) => {
      const copy = row.cloneNode(true);
      copy.hidden = false;
      return copy;
    }));
    told.append(element("div", { className: "wide" }, element("table", {}, element("thead", {}, names), body)));
  }
  function pointed(one, k) {
    if (view.value === "cells") {
      tell(one, (pair) => pair.cell === data.cells[k].name, data.cells[k].name);
    } else if (view.value === "map") {
      const { map } = one;
      const inside = (value, low, high) => Number(value) >= low && Number(value) <= high;
      tell(one,
        (pair) => inside(pair.x, map.x_low[k], map.x_high[k]) && inside(pair.y, map.y_low[k], map.y_high[k]),
        `mean cosine ${signed(map.mean[k])}`);
    }
  }

  function draw() {
    const both = [arm(left), arm(right)];
    measures.closest("label").hidden = view.value !== "slopes";
    const drawn = both.map((one) => VIEWS[view.value](one, both));
    const lines = view.value === "map" ? 0 : Math.max(...drawn.map(([traces]) => traces.length)); // of the longer legend
    panels.forEach((panel, side) => {
      const [traces, more] = drawn[side];
      Plotly.react(panel, traces, layout(both[side].name, more, lines), {
        responsive: true, displayModeBar: false,
      });
      panel.removeAllListeners?.("plotly_hover");
      panel.on("plotly_hover", (event) => {
        const [point] = event.points;
        if (point.customdata !== undefined) pointed(both[side], point.customdata);
      });
    });
  }

  data.arms.forEach((one, k) => {
    for (const select of [left, right]) select.append(element("option", { value: k }, one.name));
  });
  const first = (group) => Math.max(data.arms.findIndex((one) => one.group === group), 0);
  right.value = first("real");
  left.value = first(data.arms.some((one) => one.group === "toy") ? "toy" : "control");
  const known = new Set(data.arms.flatMap((one) => Object.keys(one.slopes)));
  measures.append(...[...known].map((value) => element("option", { value }, value)));
  measures.selectedIndex = known.size - 1;
  explorer.hidden = false;
  for (const select of [view, measures, left, right]) {
    select.addEventListener("change", () => {
      told.replaceChildren();
      draw();
    });
  }
  const cell = document.getElementById("explorer-cell");
  cell.append(...data.cells.map(({ name }, k) => element("option", { value: k }, name)));
  cell.addEventListener("change", () => {
    if (cell.value === "") return told.replaceChildren();
    const { name } = data.cells[Number(cell.value)];
    tell(arm(right), (pair) => pair.cell === name, name);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
