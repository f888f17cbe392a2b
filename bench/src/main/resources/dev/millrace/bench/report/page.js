// Lays the report out: every text goes in as text, never as markup.
(() => {
  const report = JSON.parse(document.getElementById('data').textContent);
  const page = d3.select('#page');
  const n = x => x === null || x === undefined ? '–' : typeof x === 'string' ? x
    : x === 0 ? '0' : Math.abs(x) >= 1000 ? d3.format(',.0f')(x) : d3.format('.4~g')(x);

  function table(heads, rows, texts = [0]) {
    const t = page.append('div').attr('class', 'scroll').append('table');
    t.append('thead').append('tr').selectAll('th').data(heads).join('th').classed('text', (d, i) => texts.includes(i)).text(d => d);
    t.append('tbody').selectAll('tr').data(rows).join('tr').selectAll('td').data(r => r).join('td')
      .classed('text', (d, i) => texts.includes(i)).text(n);
  }
  const section = (title, text) => { page.append('h2').text(title); if (text) page.append('p').text(text); };
  const runs = report.runs;
  const rows = (run, kind) => run.rows.filter(r => new RegExp(`^${kind}[0-9]+$`).test(r.test))
    .map(r => ({ ...r, n: +r.test.slice(kind.length) })).sort((a, b) => a.n - b.n);

  page.append('h1').text(report.model);
  page.append('p').text(`Millrace ${report.version}, ${report.created}. ${Object.entries(report.machine).map(([k, v]) => `${k}: ${v}`).join(', ')}.`);
  const devices = [...new Set(runs.map(run => `${run.executor}: ${run.device}, ${run.detail}`))];
  page.append('ul').selectAll('li').data(devices).join('li').text(d => d);
  const again = page.append('p').text('Made by ');
  again.append('code').text(report.command);
  Object.entries(report.absent).forEach(([name, why]) => page.append('p').text(`${name} took no part: ${why}.`));

  section('Speed beside the roofs', 'Each figure stands beside what the same device could do, measured in the same run. The roof is the longer of bytes over read bandwidth and operations over arithmetic rate, node by node.');
  table(['device and weights', 'test', 'tokens/s', '±', 'GB/s', 'read GB/s', 'GFLOP/s', '% of roof', 'roof', 'TTFT ms'],
    runs.flatMap(run => run.rows.map(r => [run.label, r.test, r.tokens_per_s, r.stddev, r.gb_s, r.read_gb_s, r.gflop_s, r.percent_of_roof, r.roof, r.ttft_ms])), [0, 1, 8]);

  section('Latency, price and bandwidth', 'Latency of the whole prompt or of one token; latency times cost per month; and the gigabytes the memory could have delivered in that time. Less is better in each column.');
  table(['device and weights', 'test', 'latency ms', 'least ms', 'latency × cost, ms × price', 'bandwidth × latency, GB'],
    runs.flatMap(run => run.products.map(p => [run.label, p.test, p.latency_ms, p.least_ms, p.latency_cost, p.bandwidth_latency_gb])), [0, 1]);

  const prompts = runs.map(run => ({ name: run.label, points: rows(run, 'pp').map(r => [r.n, r.ttft_ms]) })).filter(s => s.points.length > 1);
  if (prompts.length) {
    section('Time to first token');
    Charts.lines(page, 'time to first token', prompts, { xLabel: 'prompt tokens', yLabel: 'milliseconds', logX: true, logY: true, caption: 'From the prompt’s token ids to the first new token.' });
  }
  const decodes = runs.map(run => ({ name: run.label, points: rows(run, 'tg').map(r => [r.n, r.tokens_per_s]) })).filter(s => s.points.length > 1);
  if (decodes.length) {
    section('Decoding speed against length');
    Charts.lines(page, 'decoding speed', decodes, { xLabel: 'tokens decoded', yLabel: 'tokens/s', logX: true, caption: 'Marginal: time between the first and the last new token.' });
  }

  const roofed = runs.filter(run => run.roofs.READ && run.roofs.COMPUTE && run.phases.length);
  if (roofed.length) {
    section('Roofline', 'Sloped: the read bandwidth of a working set as large as a decode step’s. Flat: arithmetic in the weights’ format. A point on the line leaves nothing on the table.');
    Charts.roofline(page, roofed.map(run => ({
      name: run.label, peak: run.roofs.COMPUTE,
      read: d3.max(run.phases, p => p.read_gb_s) || run.roofs.READ,
      points: run.phases.map(p => {
        const bytes = d3.sum(p.ops, o => o.bytes), flops = d3.sum(p.ops, o => o.flops);
        return { label: p.phase, x: flops / bytes, y: flops / p.step_us / 1e3 };
      })
    })), 'Bytes are those that must stream from memory: weights, keys and values.');
  }

  const groups = [...new Set(runs.flatMap(run => run.phases.flatMap(p => p.ops.map(o => o.group))))];
  const phases = runs.flatMap(run => run.phases.map(p => ({ run, p })));
  if (phases.length) {
    section('Where the time goes');
    for (const kind of ['prefill', 'decode']) {
      const bars = phases.filter(x => x.p.phase === kind).map(({ run, p }) => {
        const parts = {};
        p.ops.forEach(o => { parts[o.group] = (parts[o.group] || 0) + o.us / p.sum_us * 100; });
        return { name: `${run.label}: ${n(p.step_us)} µs`, parts };
      });
      if (bars.length) Charts.stacks(page, kind, bars, groups, { xLabel: '% of the step', caption: `${kind}: share of each group of ops.` });
    }
    section('Slowest ops, side by side');
    const paths = d3.rollups(phases.filter(x => x.p.phase === 'decode').flatMap(x => x.p.ops), v => d3.sum(v, o => o.us), o => o.path)
      .sort((a, b) => b[1] - a[1]).slice(0, 15).map(d => d[0]);
    const decode = phases.filter(x => x.p.phase === 'decode');
    table(['op (decode)', ...decode.flatMap(x => [`${x.run.label}: µs`, '% roof'])],
      paths.map(path => [path, ...decode.flatMap(x => { const o = x.p.ops.find(o => o.path === path); return o ? [o.us, o.percent_of_roof ?? o.roof] : ['–', '–']; })]));
  }

  section('Memory and roofs');
  const kinds = [...new Set(runs.flatMap(run => Object.keys(run.roofs)))];
  table(['device and weights', 'weights MiB', 'mapped MiB', 'scratch MiB', 'KiB per token of context', ...kinds.map(k => { const u = runs.map(r => r.units[k]).find(x => x); return `${k.toLowerCase()} ${u}`; })],
    runs.map(run => [run.label, run.memory.weights / 1048576, run.memory.mapped / 1048576, run.memory.scratch / 1048576, run.memory.cache_per_token / 1024, ...kinds.map(k => run.roofs[k])]));

  if (report.jmh.length) {
    section('JMH', 'Scores of microbenchmarks; the further columns are a second: gigabytes, billions of operations, and their percentage of the roofs measured when the trial began.');
    const figures = [...new Set(report.jmh.flatMap(j => Object.keys(j.figures)))];
    table(['benchmark', 'parameters', 'score', '±', 'unit', ...figures.map(f => f.replace(/([A-Z])/g, c => ' ' + c.toLowerCase()))],
      report.jmh.map(j => [j.benchmark.split('.').slice(-2).join('.'), Object.entries(j.params).map(([k, v]) => `${k}=${v}`).join(' '), j.score, j.error, j.unit, ...figures.map(f => j.figures[f])]), [0, 1, 4]);
  }
})();
