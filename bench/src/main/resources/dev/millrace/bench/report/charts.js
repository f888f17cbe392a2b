// Plots as SVG with d3: colours come from the page's style, so light and dark need nothing here.
const Charts = (() => {
  const WIDEST = 980, PAD = 29, M = { top: 12, right: 24, bottom: 46, left: 64 };
  // drawn at the width it is shown in, so that text keeps its size on a phone
  const W = Math.min(WIDEST, document.getElementById('page').clientWidth - 2 * PAD), H = Math.max(260, Math.round(W * 0.45));
  const color = i => `var(--c${i % 8})`;
  const short = v => Math.abs(v) >= 1000 ? d3.format('.3~s')(v) : d3.format('.3~g')(v);
  const few = W < 500 ? 4 : 6;

  const decades = s => Math.log10(s.domain()[1] / s.domain()[0]);

  function frame(figure, title) {
    const svg = figure.append('svg').attr('viewBox', `0 0 ${W} ${H}`).attr('role', 'img').attr('aria-label', title);
    return svg;
  }

  function legend(figure, names) {
    const box = figure.append('div').attr('class', 'legend');
    names.forEach((name, i) => {
      const item = box.append('span');
      item.append('i').style('background', color(i));
      item.append('span').text(name);
    });
  }

  function axes(svg, x, y, xLabel, yLabel) {
    const ticks = s => s.base ? s.ticks(few).filter(t => { const m = t / Math.pow(10, Math.floor(Math.log10(t) + 1e-9)); return (W < 500 && decades(s) > 2 ? [1] : [1, 2, 5]).some(k => Math.abs(m - k) < 1e-6); }) : s.ticks(few);
    svg.append('g').attr('class', 'grid').selectAll('line').data(ticks(y)).join('line')
      .attr('x1', M.left).attr('x2', W - M.right).attr('y1', y).attr('y2', y);
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${H - M.bottom})`)
      .call(d3.axisBottom(x).tickValues(ticks(x)).tickFormat(short));
    svg.append('g').attr('class', 'axis').attr('transform', `translate(${M.left},0)`)
      .call(d3.axisLeft(y).tickValues(ticks(y)).tickFormat(short));
    svg.append('text').attr('x', (M.left + W - M.right) / 2).attr('y', H - 8).attr('text-anchor', 'middle').text(xLabel);
    svg.append('text').attr('transform', `translate(14,${(M.top + H - M.bottom) / 2}) rotate(-90)`).attr('text-anchor', 'middle').text(yLabel);
  }

  function scale(log, values, range) {
    const [least, most] = d3.extent(values);
    return log ? d3.scaleLog().domain([least / 1.25, most * 1.25]).range(range)
               : d3.scaleLinear().domain([0, most * 1.08]).nice().range(range);
  }

  // series: [{name, points: [[x, y, label]], roof?: y-function}]
  function lines(parent, title, series, { xLabel, yLabel, logX = false, logY = false, caption }) {
    const figure = parent.append('figure');
    legend(figure, series.map(s => s.name));
    const all = series.flatMap(s => s.points);
    const svg = frame(figure, title);
    const x = scale(logX, all.map(p => p[0]), [M.left, W - M.right]);
    const y = scale(logY, all.map(p => p[1]), [H - M.bottom, M.top]);
    axes(svg, x, y, xLabel, yLabel);
    series.forEach((s, i) => {
      svg.append('path').attr('fill', 'none').attr('stroke', color(i)).attr('stroke-width', 2)
        .attr('d', d3.line().x(p => x(p[0])).y(p => y(p[1]))(s.points));
      svg.append('g').selectAll('circle').data(s.points).join('circle')
        .attr('cx', p => x(p[0])).attr('cy', p => y(p[1])).attr('r', 4).attr('fill', color(i))
        .append('title').text(p => `${s.name}: ${short(p[0])}, ${short(p[1])}`);
    });
    figure.append('figcaption').text(caption);
  }

  // stacked bars: rows: [{name, parts: {key: value}}]
  function stacks(parent, title, rows, keys, { xLabel, caption }) {
    const figure = parent.append('figure');
    legend(figure, keys);
    const h = 46 + rows.length * 44;
    const svg = figure.append('svg').attr('viewBox', `0 0 ${W} ${h}`).attr('role', 'img').attr('aria-label', title);
    const x = d3.scaleLinear().domain([0, d3.max(rows, r => d3.sum(keys, k => r.parts[k] || 0))]).range([8, W - M.right]);
    rows.forEach((row, r) => {
      let at = 0;
      svg.append('text').attr('x', 8).attr('y', 14 + r * 44).text(row.name);
      keys.forEach((key, i) => {
        const value = row.parts[key] || 0;
        svg.append('rect').attr('x', x(at)).attr('y', 19 + r * 44).attr('height', 16)
          .attr('width', Math.max(0, x(at + value) - x(at))).attr('fill', color(i))
          .append('title').text(`${row.name}, ${key}: ${short(value)}`);
        at += value;
      });
    });
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${h - 38})`).call(d3.axisBottom(x).ticks(few).tickFormat(short));
    svg.append('text').attr('x', W / 2).attr('y', h - 4).attr('text-anchor', 'middle').text(xLabel);
    figure.append('figcaption').text(caption);
  }

  // devices: [{name, read (GB/s), peak (GFLOP/s), points: [{x (FLOP/byte), y (GFLOP/s), label}]}]; clip keeps the slopes inside
  function roofline(parent, devices, caption) {
    const figure = parent.append('figure');
    legend(figure, devices.map(d => d.name));
    const points = devices.flatMap(d => d.points);
    const svg = frame(figure, 'roofline');
    const xs = points.map(p => p.x).concat(devices.map(d => d.peak / d.read));
    const ys = points.map(p => p.y).concat(devices.map(d => d.peak));
    const x = scale(true, xs, [M.left, W - M.right]), y = scale(true, ys, [H - M.bottom, M.top]);
    axes(svg, x, y, 'operations per byte', 'GFLOP/s');
    const clip = `clip${Math.random().toString(36).slice(2)}`;
    svg.append('clipPath').attr('id', clip).append('rect').attr('x', M.left).attr('y', M.top)
      .attr('width', W - M.left - M.right).attr('height', H - M.top - M.bottom);
    devices.forEach((d, i) => {
      const [a, b] = x.domain();
      const knee = d.peak / d.read;
      svg.append('path').attr('clip-path', `url(#${clip})`).attr('fill', 'none').attr('stroke', color(i)).attr('stroke-width', 2)
        .attr('d', d3.line().x(p => x(p[0])).y(p => y(p[1]))([[a, a * d.read], [knee, d.peak], [Math.max(b, knee), d.peak]]));
      svg.append('g').selectAll('g').data(d.points).join('g').each(function (p) {
        const g = d3.select(this);
        g.append('circle').attr('cx', x(p.x)).attr('cy', y(p.y)).attr('r', 5).attr('fill', color(i))
          .append('title').text(`${d.name}, ${p.label}: ${short(p.x)} FLOP/B, ${short(p.y)} GFLOP/s`);
        const left = x(p.x) > W - M.right - 60;
        g.append('text').attr('class', 'point').attr('x', x(p.x) + (left ? -8 : 8)).attr('y', y(p.y) + 4)
          .attr('text-anchor', left ? 'end' : 'start').style('fill', color(i)).text(p.label);
      });
    });
    figure.append('figcaption').text(caption);
  }

  return { lines, stacks, roofline };
})();
