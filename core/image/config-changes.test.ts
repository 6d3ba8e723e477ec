import { describe, expect, it } from 'vitest';
import type { ProcessConfig } from '../container/container.js';
import { applyChanges } from './config-changes.js';
import { emptyProcessConfig } from './image-config.js';

const base: ProcessConfig = { ...emptyProcessConfig, env: ['PATH=/bin', 'A=1'], cmd: ['old'], workingDir: '/srv', labels: { keep: 'me' } };

describe('a change of a configuration', () => {
  it.each<[string[], Partial<ProcessConfig>]>([
    [['CMD ["a", "b c"]'], { cmd: ['a', 'b c'] }],
    [['cmd echo $HOME  x'], { cmd: ['/bin/sh', '-c', 'echo $HOME  x'] }],
    [['CMD [not json'], { cmd: ['/bin/sh', '-c', '[not json'] }],
    [['CMD []'], { cmd: [] }],
    [['ENTRYPOINT ["x"]'], { entrypoint: ['x'], cmd: undefined }],
    [['CMD ["c"]', 'ENTRYPOINT ["x"]'], { entrypoint: ['x'], cmd: ['c'] }],
    [['ENV A=2 B="two words" C=three\\ words'], { env: ['PATH=/bin', 'A=2', 'B=two words', 'C=three words'] }],
    [['ENV D the whole  rest'], { env: ['PATH=/bin', 'A=1', 'D=the whole  rest'] }],
    [['EXPOSE 80 53/UDP 1000-1002'], { exposedPorts: ['80/tcp', '53/udp', '1000/tcp', '1001/tcp', '1002/tcp'] }],
    [['LABEL a=b "c d"="e f" __proto__=x'], { labels: expect.objectContaining({ keep: 'me', a: 'b', 'c d': 'e f' }) as never }],
    [['ONBUILD RUN make'], { onBuild: ['RUN make'] }],
    [['STOPSIGNAL SIGUSR1'], { stopSignal: 'SIGUSR1' }],
    [['USER app:staff'], { user: 'app:staff' }],
    [['VOLUME /data /log', 'VOLUME ["/a b"]'], { volumes: ['/data', '/log', '/a b'] }],
    [['WORKDIR sub', 'WORKDIR ../x'], { workingDir: '/srv/x' }],
    [['WORKDIR /abs'], { workingDir: '/abs' }],
    [['HEALTHCHECK NONE'], { healthcheck: { test: ['NONE'], interval: 0, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0 } }],
    [
      ['HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f localhost'],
      {
        healthcheck: { test: ['CMD-SHELL', 'curl -f localhost'], interval: 90e9, timeout: 0, startPeriod: 0, startInterval: 0, retries: 3 },
      },
    ],
    [
      ['HEALTHCHECK CMD ["x"]'],
      { healthcheck: { test: ['CMD', 'x'], interval: 0, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0 } },
    ],
    [['CMD one \\\n two'], { cmd: ['/bin/sh', '-c', 'one  two'] }],
    [['', '# nothing'], {}],
  ])('%j', (changes, expected) => {
    expect(applyChanges(base, changes)).toEqual({ ...base, ...expected });
  });

  it('gives the shell form to the shell of the configuration', () => {
    expect(applyChanges({ ...base, shell: ['/bin/bash', '-ec'] }, ['ENTRYPOINT run me']).entrypoint).toEqual([
      '/bin/bash',
      '-ec',
      'run me',
    ]);
  });

  it.each([
    ['RUN make', 'run is not a valid change command'],
    ['FROM x', 'from is not a valid change command'],
    ['FLY away', 'unknown instruction: FLY'],
    ['constructor x', 'unknown instruction: CONSTRUCTOR'],
    ['ENV A', 'ENV must have two arguments'],
    ['ENV A=1 B', "can't find = in"],
    ['ENV =1', 'ENV names can not be blank'],
    ['ENV A="open', 'looking for matching double-quote'],
    ['EXPOSE', 'EXPOSE requires at least one argument'],
    ['EXPOSE 70000', 'invalid containerPort: 70000'],
    ['EXPOSE 1/icmp', 'invalid proto: icmp'],
    ['USER', 'USER requires exactly one argument'],
    ['USER a b', 'USER requires exactly one argument'],
    ['STOPSIGNAL a-b-c', 'Invalid signal'],
    ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
    ['ONBUILD ONBUILD RUN x', 'Chaining ONBUILD'],
    ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['HEALTHCHECK', 'HEALTHCHECK requires at least one argument'],
    ['HEALTHCHECK NONE x', 'HEALTHCHECK NONE takes no arguments'],
    ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK --fast CMD x', 'unknown flag: --fast'],
    ['HEALTHCHECK --interval=1us CMD x', 'cannot be less than 1ms'],
    ['HEALTHCHECK --retries=-1 CMD x', '--retries cannot be negative'],
  ])('refuses %j', (change, message) => {
    expect(() => applyChanges(base, [change])).toThrow(message);
  });
});
