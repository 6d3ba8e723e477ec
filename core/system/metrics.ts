/** Labels of one series. */
export type Labels = Readonly<Record<string, string>>;

/** Upper bounds in seconds, as Prometheus' clients have them by default. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** How long something took, by one label. */
export class Histogram {
  private readonly series = new Map<string, { readonly counts: number[]; sum: number; count: number }>();

  /** Series that are told from the start, so that who looks at them sees zero and not nothing. */
  constructor(
    readonly label: string,
    values: readonly string[],
  ) {
    for (const value of values) this.of(value);
  }

  observe(value: string, seconds: number): void {
    const series = this.of(value);
    series.sum += seconds;
    series.count++;
    const bucket = BUCKETS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) series.counts[bucket] = (series.counts[bucket] ?? 0) + 1;
  }

  lines(name: string): string[] {
    return [...this.series].flatMap(([value, { counts, sum, count }]) => {
      let below = 0;
      const buckets = BUCKETS.map((bound, index) =>
        sample(`${name}_bucket`, { [this.label]: value, le: String(bound) }, (below += counts[index] ?? 0)),
      );
      const labels = { [this.label]: value };
      return [
        ...buckets,
        sample(`${name}_bucket`, { ...labels, le: '+Inf' }, count),
        sample(`${name}_sum`, labels, sum),
        sample(`${name}_count`, labels, count),
      ];
    });
  }

  private of(value: string): { counts: number[]; sum: number; count: number } {
    const series = this.series.get(value) ?? { counts: [], sum: 0, count: 0 };
    this.series.set(value, series);
    return series;
  }
}

/** Writes metrics in Prometheus' text format, version 0.0.4. */
export class Exposition {
  private readonly lines: string[] = [];

  value(name: string, kind: 'counter' | 'gauge', help: string, value: number, labels: Labels = {}): this {
    return this.values(name, kind, help, [[labels, value]]);
  }

  values(name: string, kind: 'counter' | 'gauge', help: string, values: readonly (readonly [Labels, number])[]): this {
    if (values.length > 0) this.lines.push(...head(name, kind, help), ...values.map(([labels, value]) => sample(name, labels, value)));
    return this;
  }

  histogram(name: string, help: string, histogram: Histogram): this {
    this.lines.push(...head(name, 'histogram', help), ...histogram.lines(name));
    return this;
  }

  toString(): string {
    return `${this.lines.join('\n')}\n`;
  }
}

const head = (name: string, kind: string, help: string): string[] => [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`];

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
