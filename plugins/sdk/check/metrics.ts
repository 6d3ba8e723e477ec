import type { Check } from './suite.js';

export const metricsChecks: readonly Check[] = [
  {
    name: 'begins and ends, however often it is told',
    async run(subject) {
      await subject.ok('MetricsCollector.StartMetrics');
      await subject.ok('MetricsCollector.StartMetrics', undefined, 'StartMetrics succeeds again: another engine may have begun');
      // Optional, and a text is allowed: an engine that ends waits for nobody.
      await subject.ask('MetricsCollector.StopMetrics');
      await subject.ask('MetricsCollector.StopMetrics');
      await subject.ok('MetricsCollector.StartMetrics', undefined, 'StartMetrics succeeds after StopMetrics');
      await subject.ask('MetricsCollector.StopMetrics');
    },
  },
  {
    name: 'begins again after it was killed',
    async run(subject) {
      await subject.ok('MetricsCollector.StartMetrics');
      await subject.restart();
      await subject.ok('MetricsCollector.StartMetrics');
      await subject.ask('MetricsCollector.StopMetrics');
    },
  },
];
