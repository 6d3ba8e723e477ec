import { describe, expect, it } from 'vitest';
import { Exposition, Histogram } from './metrics.js';

describe('metrics in the text format', () => {
  it('count what took as long as each bound or less', () => {
    const histogram = new Histogram('action', ['start']);
    for (const seconds of [0.004, 0.005, 0.3, 99]) histogram.observe('start', seconds);
    const lines = new Exposition().histogram('x_seconds', 'how long', histogram).toString().split('\n');
    expect(lines.slice(0, 2)).toEqual(['# HELP x_seconds how long', '# TYPE x_seconds histogram']);
    expect(lines).toEqual(
      expect.arrayContaining([
        'x_seconds_bucket{action="start",le="0.005"} 2',
        'x_seconds_bucket{action="start",le="0.25"} 2',
        'x_seconds_bucket{action="start",le="0.5"} 3',
        'x_seconds_bucket{action="start",le="10"} 3',
        'x_seconds_bucket{action="start",le="+Inf"} 4',
        'x_seconds_count{action="start"} 4',
      ]),
    );
  });

  it('show a series that nothing was observed of as zero', () => {
    expect(new Exposition().histogram('x', 'x', new Histogram('action', ['commit'])).toString()).toContain('x_count{action="commit"} 0\n');
  });

  it('write labels so that they end where they should', () => {
    const text = new Exposition().value('up', 'gauge', 'whether', 1, { name: 'a"b\\c\nd' }).toString();
    expect(text).toBe('# HELP up whether\n# TYPE up gauge\nup{name="a\\"b\\\\c\\nd"} 1\n');
  });
});
