// Charts, each drawn from its table (templates/dashboard/parts.html: chart), so that both always say the same. The library is
// loaded after the first paint. Names are other people's text: they reach the canvas only, never as HTML.
(() => {
  "use strict";

  const LIBRARY = document.currentScript.dataset.library;
  const drawn = new Map(); // host → { chart, data, at: where the keyboard is, off: names of series switched off }
  let library = null;
  let printing = false;

  const byId = (id) => document.getElementById(id);

  function load() {
    library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = LIBRARY;
      script.onload = () => done(window.echarts);
      script.onerror = failed;
      document.head.append(script);
    });
    return library;
  }

  const nameOf = (button) => button.querySelector("bdi").textContent;
  const buttonsOf = (host) => [...document.querySelectorAll(`[data-of="${host.id}"]`)];

  // In rich text, {a|b} is a style; names may hold anything.
  const plain = (text) => (text.length > 40 ? `${text.slice(0, 39)}…` : text).replace(/[{}|]/g, (sign) => ({ "{": "❴", "}": "❵", "|": "❘" })[sign]);

  // ── The table ───────────────────────────────────────────────────────────────────────────────────────────────────────

  function read(host) {
    const table = byId(host.dataset.chart);
    const buttons = buttonsOf(host);
    const rows = [...table.tBodies[0].rows].map((row) => {
      const cells = [...row.cells].slice(1);
      return {
        label: row.dataset.label,
        full: row.cells[0].textContent.trim(),
        link: row.cells[0].querySelector("a"),
        filling: "filling" in row.dataset,
        values: cells.map((cell) => (cell.dataset.v === undefined ? null : Number(cell.dataset.v))),
        texts: cells.map((cell) => cell.textContent),
      };
    });
    const series = buttons.map((button, at) => ({
      name: nameOf(button),
      key: plain(nameOf(button)) + "\u200b".repeat(at), // the library tells series apart by their names
      colour: getComputedStyle(button.querySelector("rect")).fill,
    }));
    return { rows, series, unit: table.dataset.unit, kind: table.dataset.kind, sign: table.dataset.sign };
  }

  // ── Figures, as metrion/web/figures.py writes them ──────────────────────────────────────────────────────────────────

  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

  function count(value) {
    if (value < 1e4) return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
    const [unit, size] = value >= 1e9 ? ["B", 1e9] : value >= 1e6 ? ["M", 1e6] : ["k", 1e3];
    return trim((value / size).toPrecision(3)) + unit;
  }

  function money(value, sign) {
    const amount = value / 1e9;
    if (amount === 0) return `${sign}0`;
    if (amount >= 1e4) return sign + count(amount);
    const cents = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    if (amount >= 0.01) return sign + amount.toLocaleString("en-US", cents).replace(/\.00$/, "");
    return sign + trim(amount.toFixed(9));
  }

  function duration(us) {
    if (us === 0) return "0";
    if (us < 1e6) return `${trim((us / 1e3).toPrecision(3))} ms`;
    return us < 3e8 ? `${trim((us / 1e6).toPrecision(3))} s` : `${trim((us / 6e7).toFixed(1))} min`;
  }

  const onAxis = (data, value) =>
    data.unit === "money" ? money(value, data.sign) : data.unit === "duration" ? duration(value) : count(value);

  // ── Drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  function series(data, look) {
    return data.series.map((one, at) => {
      const values = data.rows.map((row) => row.values[at]);
      const common = {
        name: one.key,
        color: one.colour,
        emphasis: { disabled: true },
        tooltip: { valueFormatter: (value, number) => plain(data.rows[number].texts[at]) },
      };
      if (data.kind === "lines") {
        const alone = (number) => values[number - 1] == null && values[number + 1] == null;
        return {
          ...common,
          type: "line",
          data: values,
          lineStyle: { width: 2 },
          symbol: "circle",
          showAllSymbol: true,
          symbolSize: (value, point) => (alone(point.dataIndex) || data.rows[point.dataIndex].filling ? 5 : 0),
        };
      }
      return {
        ...common,
        type: "bar",
        stack: "all",
        barMaxWidth: 36,
        barCategoryGap: data.rows.length > 40 ? "15%" : "30%",
        data: values.map((value, number) => (data.rows[number].filling ? { value, itemStyle: { opacity: 0.55 } } : value)),
        itemStyle: { borderColor: look.surface, borderWidth: data.rows.length > 40 ? 0 : 0.5 },
      };
    });
  }

  function options(host, { data, off }) {
    const style = getComputedStyle(host);
    const look = { text: style.color, line: style.borderTopColor, surface: style.backgroundColor, strong: getComputedStyle(document.body).color };
    const font = { color: look.text, fontFamily: style.fontFamily, fontSize: 12 };
    return {
      animation: false,
      textStyle: { fontFamily: style.fontFamily },
      grid: { left: 0, right: 12, top: 10, bottom: 3, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      legend: { show: false, selected: Object.fromEntries(data.series.map((one) => [one.key, !off.has(one.name)])) },
      tooltip: {
        trigger: "axis",
        renderMode: "richText",
        confine: true,
        transitionDuration: 0,
        backgroundColor: look.surface,
        borderColor: look.line,
        borderWidth: 1,
        padding: [8, 12],
        textStyle: { ...font, color: look.strong },
        order: data.kind === "bars" ? "seriesDesc" : "seriesAsc", // as the stack lies
        axisPointer: data.kind === "lines" ? { type: "line", lineStyle: { color: look.text, type: "solid", width: 1 } } : { type: "shadow", shadowStyle: { color: look.line, opacity: 0.4 } },
      },
      xAxis: {
        type: "category",
        data: data.rows.map((row) => row.full),
        boundaryGap: data.kind === "bars",
        axisLine: { lineStyle: { color: look.line } },
        axisTick: { show: false },
        axisLabel: { ...font, hideOverlap: true, margin: 8, formatter: (full, number) => data.rows[number].label },
      },
      yAxis: {
        type: "value",
        min: 0,
        minInterval: data.unit === "count" ? 1 : 0,
        splitNumber: 3,
        splitLine: { lineStyle: { color: look.line } },
        axisLabel: { ...font, formatter: (value) => onAxis(data, value) },
      },
      series: series(data, look),
    };
  }

  function draw(echarts, host) {
    let one = drawn.get(host);
    if (!one) {
      host.classList.remove("skeleton");
      one = { chart: echarts.init(host, null, { renderer: "canvas" }), data: null, at: null, off: new Set() };
      drawn.set(host, one);
      one.chart.getZr().on("click", (event) => open(host, event));
      sizes.observe(host);
    }
    one.data = read(host);
    one.chart.setOption(options(host, one), { notMerge: true });
    host.classList.toggle("leads", one.data.rows.some((row) => row.link));
    for (const button of buttonsOf(host)) button.setAttribute("aria-pressed", String(!one.off.has(nameOf(button))));
  }

  function open(host, event) { // a bucket leads where its row does
    const { chart, data } = drawn.get(host);
    const point = [event.offsetX, event.offsetY];
    if (!chart.containPixel("grid", point)) return;
    data.rows[chart.convertFromPixel({ xAxisIndex: 0 }, point[0])]?.link?.click();
  }

  const sizes = new ResizeObserver((entries) => entries.forEach((entry) => drawn.get(entry.target)?.chart.resize()));

  async function drawAll() {
    for (const [host, one] of drawn) {
      if (host.isConnected) continue;
      sizes.unobserve(host);
      one.chart.dispose();
      drawn.delete(host);
    }
    const hosts = [...document.querySelectorAll("[data-chart]")];
    if (!hosts.length) return;
    const echarts = window.echarts ?? (await load());
    for (const host of hosts) if (host.isConnected && byId(host.dataset.chart)) draw(echarts, host);
  }

  // ── By keyboard: the arrows go through the buckets, and what stands there is read out ───────────────────────────────

  function move(event) {
    const one = drawn.get(event.target);
    const last = one ? one.data.rows.length - 1 : -1;
    const from = one?.at ?? last + 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (!one || (to === undefined && event.key !== "Enter")) return;
    event.preventDefault();
    if (event.key === "Enter") return one.at !== null && one.data.rows[one.at].link?.click();
    one.at = Math.min(Math.max(to, 0), last);
    const row = one.data.rows[one.at];
    one.chart.dispatchAction({ type: "showTip", seriesIndex: 0, dataIndex: one.at });
    byId("live").textContent = [row.full, ...one.data.series.map((series, at) => `${series.name}: ${row.texts[at]}`)].join(", ");
  }

  function leave(event) {
    const one = drawn.get(event.target);
    if (!one) return;
    one.at = null;
    one.chart.dispatchAction({ type: "hideTip" });
  }

  function toggle(button) {
    const host = byId(button.dataset.of);
    const { off } = drawn.get(host) ?? {};
    if (!off?.delete(nameOf(button))) off?.add(nameOf(button));
    if (off) draw(window.echarts, host);
  }

  // ── Paper is light ──────────────────────────────────────────────────────────────────────────────────────────────────

  function onPaper(now) {
    if (now === printing) return;
    printing = now;
    const root = document.documentElement;
    if (now) {
      root.dataset.screen = root.dataset.theme ?? "";
      root.dataset.theme = "light";
    } else {
      if (root.dataset.screen) root.dataset.theme = root.dataset.screen;
      else delete root.dataset.theme;
      delete root.dataset.screen;
    }
    drawAll();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-series]");
    if (button) toggle(button);
  });
  document.addEventListener("keydown", (event) => event.target.matches?.("[data-chart]") && move(event));
  document.addEventListener("focusout", (event) => event.target.matches?.("[data-chart]") && leave(event));
  document.addEventListener("htmx:after:swap", drawAll);
  document.addEventListener("metrion:theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => onPaper(true));
  addEventListener("afterprint", () => onPaper(false));
  requestAnimationFrame(() => setTimeout(drawAll)); // after the first paint
})();
